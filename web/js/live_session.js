// The panel of a Live Session node: what to do before the first run, then the live panel of the session it began.

import { addPanel, element, setText } from "./dom.js";
import { livePanel } from "./live/panel.js";
import { liveWords } from "./live/words.js";
import { followNode } from "./presence.js";

/** Pixels: without a session, and with one; the panel scrolls where the node is smaller. */
const [EMPTY, OPEN] = [32, 900];

/** Adds the panel, which `build` makes. Returns a function that shows the output {token} of a run. */
export function liveSessionPanel(node, { words, place, locale, liveUrl, graphImages, build = livePanel }) {
  const line = element("div", { class: "personalive-line" }, words.liveEmpty);
  const stage = element("div", { class: "personalive-live-host" });
  const setHeight = addPanel(node, "personalive_live_panel", element("div", {}, stage, line), place);
  let [panel, token, over] = [null, null, false];
  for (const kind of ["wheel", "pointerdown", "keydown", "paste", "drop"])
    stage.addEventListener(kind, (event) => event.stopPropagation()); // it scrolls, and takes pictures, itself
  stage.hidden = true;
  setHeight(EMPTY);

  const end = () => {
    panel?.close();
    panel = null;
  };
  followNode(node, end);

  return (output) => {
    if (!output?.token || (output.token === token && !over && panel)) return; // the session goes on, changed
    end();
    [token, over] = [output.token, false];
    setText(line, "");
    stage.hidden = false;
    setHeight(OPEN);
    panel = build(stage, {
      words: liveWords(locale),
      socketUrl: liveUrl(),
      token,
      graphImages,
      onBegun() {
        over = false; // Start takes up a session that was lost, or another page's
        setText(line, "");
      },
      onEnded() {
        over = true;
        setText(line, words.liveOver);
      },
    });
  };
}
