// The sliders of the Expression Editor, by the names of its widgets.

/** Slider -> its value at rest. */
export const SLIDERS = Object.freeze({
  wink: 0, wink_other: 0, blink: 0, gaze_x: 0, gaze_y: 0, gaze_x_other: 0, gaze_y_other: 0, eyes_open: -1,
  eyebrow: 0,
  smile: 0, lip_open: 0, grin: 0, pursing: 0, pouting: 0, lips_open: -1,
  pitch: 0, yaw: 0, roll: 0, move_x: 0, move_y: 0, move_z: 1, source_expression: 1,
});

/** What else changes the preview. */
const OTHERS = ["editor", "stitching", "sample_part", "sample_ratio", "codes"];

/** What a page asks for: `valueOf(name)` gives a widget's value, undefined where the value comes from another node. */
export function askedOf(valueOf) {
  const known = (names) => names.map((name) => [name, valueOf(name)]).filter(([, value]) => value !== undefined);
  return { ...Object.fromEntries(known(OTHERS)), values: Object.fromEntries(known(Object.keys(SLIDERS))) };
}

/** Whether a run has already drawn what is asked: `run` is all of its values, of which a page may know fewer. */
export function isDrawn(asked, run) {
  const same = (one, other) => Object.entries(one).every(([name, value]) => Object.is(value, other?.[name]));
  const { values, ...others } = asked;
  return same(values, run?.values) && same(others, run);
}
