/** What commands that judge end with, so that scripts can tell a judgement from a failure. */

/** `weft analyze` has found something; istioctl's number. */
export const EXIT_FOUND = 79;

/** `weft authz explain`: it is denied. */
export const EXIT_DENIED = 4;

/** The same: it depends on the request, and none was given. */
export const EXIT_DEPENDS = 5;
