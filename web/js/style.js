// The CSS of the panels. It uses the front end's own colours, so that light and dark themes both work.

export const STYLE = `
.personalive-panel { display: flex; flex-direction: column; gap: 4px; box-sizing: border-box; width: 100%; height: 100%;
  overflow: hidden; font: 12px sans-serif; color: var(--input-text); user-select: none; }
.personalive-panel[hidden], .personalive-panel [hidden] { display: none; }
.personalive-panel button { display: inline-flex; align-items: center; padding: 2px 8px; font: inherit; cursor: pointer;
  color: var(--input-text); background: var(--comfy-input-bg); border: 1px solid var(--border-color);
  border-radius: 4px; }
.personalive-panel button:disabled { opacity: 0.5; cursor: default; }
.personalive-panel svg.icon { width: 14px; height: 14px; fill: currentColor; }
.personalive-line { flex: none; min-height: 16px; color: var(--descrip-text); overflow-wrap: anywhere; }
.personalive-line a { color: var(--input-text); user-select: text; }
.personalive-panel button[aria-pressed="true"] { border-color: #4ade80; }
.personalive-error { color: var(--error-text); }
.personalive-bar { flex: none; display: flex; align-items: center; gap: 6px; }
.personalive-bar .personalive-line { flex: 1; min-width: 0; }
.personalive-prompting { flex-wrap: wrap; }
.personalive-prompting .personalive-line { flex-basis: 100%; min-height: 32px; }
.personalive-stage { position: relative; flex: 1; min-height: 0; border-radius: 4px;
  background: var(--comfy-input-bg); }
.personalive-stage > * { position: absolute; inset: 0; width: 100%; height: 100%; }
.personalive-live-host { flex: 1; min-height: 0; overflow: hidden; user-select: text; }
.personalive-strip { flex: none; display: flex; gap: 4px; height: 68px; overflow-x: auto; overflow-y: hidden; }
.personalive-strip figure { flex: none; margin: 0; text-align: center; font-size: 10px; color: var(--descrip-text); }
.personalive-strip img { display: block; height: 50px; width: auto; margin: auto; border-radius: 3px; }
.personalive-editor img { object-fit: contain; background: var(--comfy-input-bg); }
.personalive-picker img { object-fit: contain; }
.personalive-picker svg { touch-action: none; outline-offset: -2px; }
.personalive-picker rect, .personalive-picker polygon, .personalive-picker line, .personalive-picker circle {
  fill: transparent; stroke-width: 2; vector-effect: non-scaling-stroke; pointer-events: none; }
.personalive-picker .dot { fill: #4ade80; stroke: #000; stroke-width: 1; }
.personalive-picker .pair { stroke: #4ade80; }
.personalive-picker .number { fill: #fff; paint-order: stroke; stroke: #000; stroke-width: 3px;
  vector-effect: non-scaling-stroke; pointer-events: none; }
.personalive-picker .face { stroke: #fff; filter: drop-shadow(0 0 1px #000); }
.personalive-picker .face:focus { fill: rgb(255 255 255 / 20%); outline: none; }
.personalive-picker .face.chosen { stroke: #4ade80; stroke-width: 3; }
.personalive-picker .crop { stroke: #aaa; stroke-width: 1; stroke-dasharray: 2 3; }
.personalive-picker .box { stroke: #4ade80; fill: rgb(74 222 128 / 15%); }
.personalive-picker .grip { fill: #4ade80; stroke: #000; stroke-width: 1; }
.personalive-videos { flex: 1; display: flex; gap: 4px; min-height: 0; }
.personalive-videos figure { position: relative; flex: 1; min-width: 0; margin: 0; border-radius: 4px;
  background: #000; }
.personalive-videos video { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; }
.personalive-videos figcaption { position: absolute; left: 4px; top: 4px; padding: 0 4px; border-radius: 3px;
  font-size: 10px; color: #fff; background: rgb(0 0 0 / 60%); }
.personalive-bar input[type="range"] { flex: 1; min-width: 0; margin: 0; }
`;
