// The result in a window of its own: a black page with one canvas, and a video that keeps the camera's frames coming.

import { element } from "../dom.js";

const STYLE = `html, body { margin: 0; height: 100%; background: #000; overflow: hidden; }
canvas { width: 100%; height: 100%; object-fit: contain; }
video { position: fixed; width: 2px; height: 2px; opacity: 0.01; pointer-events: none; }`;

/** Opens it: {view, canvas, video, close}; null if the browser blocks windows. `closed` is called when it is gone. */
export function openWindow({ title, size, closed }) {
  const view = window.open("", "", `popup,width=${size},height=${size}`);
  if (view === null) return null;
  const page = view.document;
  page.title = title;
  const [canvas, video] = [page.createElement("canvas"), page.createElement("video")];
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", title);
  Object.assign(video, { muted: true, playsInline: true });
  page.head.append(page.adoptNode(element("style", {}, STYLE)));
  page.body.append(canvas, video);
  view.addEventListener("pagehide", closed, { once: true });
  return { view, canvas, video, close: () => view.close() };
}
