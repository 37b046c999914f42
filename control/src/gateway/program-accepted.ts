/** Whether waypoints run what was made of an object: a condition of Gateways, and of objects that one could not run. */
export const PROGRAM_ACCEPTED = "weft.dev/ProgramAccepted";
