/** Who we are in `status.parents[].controllerName`: the controller of the mesh, for whom no Gateway needs to be there. */
export const MESH_CONTROLLER = "istio.io/mesh-controller";
