// When frames are sent and shown, and a lost connection is tried again: arithmetic in seconds, without a clock.

/** A connection that is lost is tried again for so long, which is the server's grace for it. */
export const GRACE = 10;
const FIRST_WAIT = 0.25;
const LONGEST_WAIT = 2;

/** Seconds until attempt number `attempt` (from 0), `elapsed` after the loss; null: given up. */
export function backOff(attempt, elapsed) {
  const wait = Math.min(FIRST_WAIT * 2 ** attempt, LONGEST_WAIT);
  return elapsed + wait > GRACE ? null : wait;
}

/**
 * Which frames of a camera to send so that there are `rate` a second. `next`: when one is due. A frame that comes up to
 * a quarter of an interval early is taken, since a camera's frames do not fall on the beat.
 * @returns {{take: boolean, next: number}} `next` for the frame after.
 */
export function beat(next, time, rate) {
  const interval = 1 / rate;
  if (time < next - interval / 4) return { take: false, next };
  return { take: true, next: Math.max(next + interval, time + interval / 2) };
}

/** Credits for frames on their way up: `limit` at most without an answer. */
export function upCredits(limit) {
  const open = new Set();
  return {
    free: () => open.size < limit,
    sent: (number) => open.add(number),
    /** An answer counts for all frames before it too: the connection keeps their order. */
    got(number) {
      for (const one of [...open]) if (one <= number) open.delete(one);
    },
  };
}

/**
 * When the frames of a window are shown: {start, spacing}. A window follows the one before, which ends at `end`, but
 * waits `spacing` at most, and one that waits plays a little faster: delay never adds up.
 */
export function windowTimes(arrival, end, spacing) {
  const start = Math.max(arrival, Math.min(end, arrival + spacing));
  return { start, spacing: start > arrival ? spacing * 0.95 : spacing };
}

/** Sound's clock may jump by so much before its time is set anew; until then, pieces join without gap. */
const SOUND_SLACK = 0.03;

/** The time of a piece of sound: where the one before it ended, unless the clock says something else by far. */
export function soundTime(end, measured) {
  return end !== null && Math.abs(end - measured) < SOUND_SLACK ? end : measured;
}
