// The pack's templates in the order of their names: the server lists them in the order of the disk.

/** `templates` as the server gives them, {pack's folder: [name, ...]}, with the names of `pack` sorted. */
export function inOrder(templates, pack) {
  const ours = templates?.[pack];
  return Array.isArray(ours) ? { ...templates, [pack]: [...ours].sort() } : templates;
}

/** The folder of the pack, which is part of the address of its scripts: /extensions/<folder>/<script>. */
export function folderOf(script) {
  const parts = new URL(script).pathname.split("/");
  return decodeURIComponent(parts[parts.lastIndexOf("extensions") + 1]);
}

/** Lets the page's template browser list the pack's templates in order. A page without that method stays as it is. */
export function listInOrder(api, pack) {
  const asked = api.getWorkflowTemplates?.bind(api);
  if (asked) api.getWorkflowTemplates = async () => inOrder(await asked(), pack);
}
