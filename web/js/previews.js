// Removes a live preview: both front ends leave the last one on the node, beside the finished film.

const WIDGET = "$$canvas-image-preview"; // the classic front end's own, which it adds to a node with pictures

/** A preview that still loads when the film is there appears after this time at most. */
const LATE_MS = 700;

/** Removes a widget that the front end added, and the height that it took. */
function removeWidget(node, name) {
  const index = node.widgets?.findIndex((widget) => widget.name === name) ?? -1;
  if (index < 0) return;
  const before = node.computeSize()[1];
  node.widgets[index].onRemove?.();
  node.widgets.splice(index, 1);
  const after = node.computeSize()[1];
  node.setSize([node.size[0], Math.max(after, node.size[1] - (before - after))]);
}

function drop(app, node, key) {
  // Vue nodes read the front end's store, which alone tells them that the preview is gone
  app.extensionManager?._p?._s?.get("nodeOutput")?.revokePreviewsByLocatorId?.(key);
  for (const url of app.nodePreviewImages?.[key] ?? []) URL.revokeObjectURL(url);
  if (app.nodePreviewImages) delete app.nodePreviewImages[key];
  node.imgs = node.preview = undefined;
  removeWidget(node, WIDGET);
  node.setDirtyCanvas(true, true);
}

/** Removes the live preview of a node; `key` is the one of its outputs. */
export function dropPreview(app, node, key) {
  drop(app, node, key);
  setTimeout(() => node.imgs && drop(app, node, key), LATE_MS);
}
