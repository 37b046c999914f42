/** Arguments of `setpriv` for a user who is nobody, but may read everything: the checkout may be in a folder of root's. */
export const AS_NOBODY = [
  "--reuid=65534",
  "--clear-groups",
  "--inh-caps=+dac_read_search",
  "--ambient-caps=+dac_read_search",
] as const;
