/** Labels: what callers and operators sort jobs, batches and hosts by. */

/** Whether they hold every one of the wanted, with its value. */
export function hasLabels(labels: Record<string, string>, wanted: Record<string, string>): boolean {
  return Object.entries(wanted).every(([name, value]) => labels[name] === value);
}
