/** How long records of jobs and batches are kept after their end, in ms; not less than until their deliveries are done. */
export const KEPT_MS = 7 * 86_400_000;
