/** Jaeger's UI reads a file as one string in the browser's tab; beyond about 20 MiB it gives up or freezes. */
export const UI_UPLOAD_BYTES = 20 * 1024 * 1024;
