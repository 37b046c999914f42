/** Any free port for each of the control plane's servers. */
export const ANYWHERE = {
  SECURE_GRPC_ADDR: "127.0.0.1:0",
  HTTP_ADDR: "127.0.0.1:0",
  MONITORING_ADDR: "127.0.0.1:0",
  HTTPS_ADDR: "127.0.0.1:0",
  ADMIN_ADDR: "127.0.0.1:0",
};
