import { GroundError, messageOf } from '../errors.ts';

/** What was thrown as a GroundError whose message begins with where it happened; code and hint stay. */
export function errorAt(where: string, thrown: unknown): GroundError {
  const known = thrown instanceof GroundError ? thrown : null;
  return new GroundError(known?.code ?? 'data', `${where}: ${messageOf(thrown)}`, {
    cause: thrown,
    ...(known?.hint === undefined ? {} : { hint: known.hint }),
  });
}
