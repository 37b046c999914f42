export type Env = Readonly<Record<string, string | undefined>>;

/** Where the services are found; the names are those of the Kubernetes Services. */
export const DEFAULT_URLS = {
  details: "http://details:9080",
  reviews: "http://reviews:9080",
  ratings: "http://ratings:9080",
} as const;

export const DEFAULT_PORT = 9080;
