// The CSS of the live panel: ComfyUI's own colours where there are any, else light or dark as the system has it.

const ID = "personalive-live-style";

const STYLE = `
.personalive-live { --text: var(--input-text, #1f2328); --quiet: var(--descrip-text, #59636e);
  --field: var(--comfy-input-bg, #fff); --line: var(--border-color, #d1d9e0); --bad: var(--error-text, #c62828);
  --good: #15803d; container-type: inline-size; box-sizing: border-box; width: 100%; max-height: 100%; overflow-y: auto;
  font: 13px/1.4 system-ui, sans-serif; color: var(--text); accent-color: var(--good); }
@media (prefers-color-scheme: dark) {
  .personalive-live { --text: var(--input-text, #e6edf3); --quiet: var(--descrip-text, #9198a1);
    --field: var(--comfy-input-bg, #22272e); --line: var(--border-color, #444c56); --bad: var(--error-text, #ff7b72);
    --good: #4ade80; }
}
.personalive-live *, .personalive-live *::before { box-sizing: border-box; }
.personalive-live [hidden] { display: none !important; }
.personalive-live-grid { display: grid; grid-template-columns: minmax(0, 1fr); gap: 12px; }
.personalive-live-main, .personalive-live-side { display: flex; flex-direction: column; gap: 8px; min-width: 0; }
.personalive-live p, .personalive-live h3, .personalive-live dl, .personalive-live dd, .personalive-live figure {
  margin: 0; }
.personalive-live h3 { font-size: 12px; font-weight: 600; color: var(--quiet); margin-bottom: 4px; }
.personalive-live-state { display: flex; align-items: baseline; gap: 8px; min-height: 20px; font-weight: 600;
  overflow-wrap: anywhere; }
.personalive-live-state::before { content: ""; flex: none; width: 9px; height: 9px; border-radius: 50%;
  background: var(--quiet); }
.personalive-live-state[data-tone="good"]::before { background: var(--good); }
.personalive-live-state[data-tone="wait"]::before { background: #e3a008; }
.personalive-live-state[data-tone="bad"]::before { background: var(--bad); }
.personalive-live-state[data-tone="bad"], .personalive-live-note[data-tone="bad"] { color: var(--bad); }
.personalive-live-offer { align-self: flex-start; }
.personalive-live-note { overflow-wrap: anywhere; user-select: text; }
.personalive-live-stage { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 7fr); gap: 8px;
  align-items: start; }
.personalive-live-stage figure { position: relative; overflow: hidden; border-radius: 6px; background: #000; }
.personalive-live-driving { aspect-ratio: 4 / 3; }
.personalive-live-result { aspect-ratio: 1; width: min(100%, 70vh); }
.personalive-live-stage :is(video, canvas, svg) { position: absolute; inset: 0; width: 100%;
  height: 100%; object-fit: contain; }
.personalive-live-mirror { transform: scaleX(-1); }
.personalive-live-stage svg { fill: none; stroke: #fff; stroke-width: 1; stroke-dasharray: 3 2; opacity: 0.6;
  pointer-events: none; filter: drop-shadow(0 0 1px #000); }
.personalive-live-stage figcaption { position: absolute; left: 4px; bottom: 4px; padding: 0 5px; border-radius: 3px;
  font-size: 11px; color: #fff; background: rgb(0 0 0 / 60%); }
.personalive-live-buttons { display: flex; flex-wrap: wrap; gap: 6px; }
.personalive-live button, .personalive-live select { min-height: 28px; padding: 3px 10px; font: inherit;
  color: var(--text); background: var(--field); border: 1px solid var(--line); border-radius: 5px; }
.personalive-live button { cursor: pointer; }
.personalive-live button:hover:enabled { border-color: var(--quiet); }
.personalive-live button:disabled, .personalive-live select:disabled { opacity: 0.5; cursor: default; }
.personalive-live .personalive-live-first { font-weight: 600; border-color: var(--good); }
.personalive-live button[aria-pressed="true"] { border-color: var(--bad); color: var(--bad); }
.personalive-live :is(button, select, input, .personalive-live-drop):focus-visible { outline: 2px solid var(--good);
  outline-offset: 1px; }
.personalive-live-figures { display: grid; gap: 6px 10px;
  grid-template-columns: repeat(auto-fill, minmax(118px, 1fr)); }
.personalive-live-figures dt { font-size: 11px; color: var(--quiet); }
.personalive-live-figures dd { font-variant-numeric: tabular-nums; white-space: nowrap; }
.personalive-live-strip { display: flex; gap: 4px; overflow-x: auto; }
.personalive-live-strip img { flex: none; height: 56px; width: auto; border-radius: 4px; }
.personalive-live-row { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 8px; min-height: 30px; }
.personalive-live-row > label:first-child:not(.personalive-live-tick) { flex: 0 0 88px; color: var(--quiet); }
.personalive-live-row > :is(select, input[type="range"]) { flex: 1 1 120px; min-width: 0; margin: 0; }
.personalive-live-row > output { flex: 0 0 34px; text-align: right; font-variant-numeric: tabular-nums; }
.personalive-live-row > button { margin-left: auto; }
.personalive-live-tick { display: inline-flex; align-items: center; gap: 5px; }
.personalive-live fieldset { margin: 0; padding: 4px 10px 8px; border: 1px solid var(--line); border-radius: 6px;
  min-width: 0; }
.personalive-live legend { padding: 0 4px; font-size: 12px; font-weight: 600; color: var(--quiet); }
.personalive-live-drop { display: flex; gap: 10px; align-items: center; padding: 6px; border-radius: 5px;
  border: 1px dashed var(--line); }
.personalive-live-drop[data-over] { border-color: var(--good); background: rgb(74 222 128 / 12%); }
.personalive-live-drop img { flex: none; width: 76px; height: 76px; object-fit: cover; border-radius: 4px; }
.personalive-live-drop > div { display: flex; flex-wrap: wrap; gap: 6px; min-width: 0; }
.personalive-live-drop p { flex: 1 1 100%; color: var(--quiet); }
.personalive-live-drop select { flex: 1 1 120px; min-width: 0; }
@container (min-width: 820px) {
  .personalive-live-grid { grid-template-columns: minmax(0, 1fr) minmax(320px, 380px); gap: 24px; }
}
`;

/** Puts the style into a document, once. */
export function addStyle(target) {
  if (target.getElementById(ID)) return;
  const style = target.createElement("style");
  style.id = ID;
  style.textContent = STYLE;
  target.head.append(style);
}
