// Delays as the panel shows them, in seconds: percentiles over a sliding window, and what another clock shows.

/** The value below which the fraction `part` of `values` lies (nearest rank); null for none. */
export function percentile(values, part) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)];
}

/** The values of the last `span` seconds. */
export function slidingWindow(span) {
  let kept = []; // [time, value], rising times
  const trim = (time) => {
    const first = kept.findIndex(([when]) => when > time - span);
    kept = first < 0 ? [] : kept.slice(first);
  };
  return {
    add(time, value) {
      trim(time);
      kept.push([time, value]);
    },
    values(time) {
      trim(time);
      return kept.map(([, value]) => value);
    },
    /** Values a second; 0 until there are two. */
    rate(time) {
      trim(time);
      return kept.length < 2 ? 0 : (kept.length - 1) / Math.max(time - kept[0][0], 1e-3);
    },
  };
}

/** The delay of what is shown `at`, captured at `time` on a clock `offset` ahead; null if either is not known. */
export function delayAt(at, time, offset) {
  return time === null || offset === null ? null : at - (time - offset);
}

/** Of samples {trip, offset} of another clock, the offset of the quickest: its trip tells it most exactly. */
export function clockOffset(samples) {
  if (samples.length === 0) return null;
  return samples.reduce((best, sample) => (sample.trip < best.trip ? sample : best)).offset;
}

/** One such sample: sent at `sent`, answered with the other clock's `clock`, received at `received`. */
export function clockSample(sent, clock, received) {
  return { trip: received - sent, offset: clock - (sent + received) / 2 };
}
