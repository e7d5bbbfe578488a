// Lets ComfyUI's page open the workflow in a Matroska film: the page reads it in webm, the same format, by the type.

/** `file` as a webm file if it is a Matroska film, else as it is. */
export function readable(file) {
  const isMatroska = /\.mkv$/i.test(file?.name ?? "") || /matroska$/.test(file?.type ?? "");
  return isMatroska ? new File([file], file.name, { type: "video/webm", lastModified: file.lastModified }) : file;
}
