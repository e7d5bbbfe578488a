// The settings of the live panel: what a person moves is sent at once, what is in effect is shown.

import { fill } from "../strings.js";
import { choose, CUTOFFS, STRENGTHS } from "./view.js";

const SETTLE = 800; // ms after a person's change in which the server's older answer does not move the control

/** The value to send of the control named `name`. */
export function settingOf(name, control) {
  if (STRENGTHS.includes(name)) return Number(control.value);
  if (name === "smoothing") return control.value === "" ? null : Number(control.value);
  return control.type === "checkbox" ? control.checked : control.value;
}

function show(parts, name, value, words) {
  if (STRENGTHS.includes(name)) {
    const { input, value: output } = parts.sliders[name];
    input.value = String(value);
    output.textContent = Number(value).toFixed(2);
  } else if (name === "smoothing") {
    const known = Object.values(CUTOFFS).includes(String(value ?? ""));
    choose(parts.smoothing, String(value ?? ""), known ? "" : fill(words.smoothingHertz, { value }));
  } else if (name === "face") {
    choose(parts.face, String(value), fill(words.faceNumber, { number: Number(value) + 1 }));
  } else if (name === "mode") parts.mode.value = value;
  else if (name === "mark") parts.mark.checked = value;
}

/** Binds the controls: `send(fields)` gets each change. Returns a function that shows settings {name: value}. */
export function bindSettings(parts, words, send) {
  const touched = {}; // name -> when a person last moved it
  parts.root.addEventListener("input", ({ target }) => {
    const name = target.dataset.setting;
    if (name === undefined) return;
    const value = settingOf(name, target);
    touched[name] = performance.now();
    show(parts, name, value, words);
    send({ [name]: value });
  });
  return (settings) => {
    for (const [name, value] of Object.entries(settings)) {
      if (!(performance.now() - touched[name] < SETTLE)) show(parts, name, value, words);
    }
  };
}
