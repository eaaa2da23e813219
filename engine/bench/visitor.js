// One visit of a page without a browser's drawing: Streamlit's protocol over a WebSocket, as bytes.
// Resolves to the milliseconds from the request to the end of the page's script.
async ({ address, page }) => {
  const text = new TextEncoder();
  const field = (number, bytes) => [(number << 3) | 2, ...length(bytes.length), ...bytes];
  const length = (value) => (value < 128 ? [value] : [(value & 127) | 128, ...length(value >> 7)]);
  const RERUN_SCRIPT = 11; // of BackMsg
  const PAGE_NAME = 4; // of ClientState
  const SCRIPT_FINISHED = 6; // of ForwardMsg
  const request = field(RERUN_SCRIPT, field(PAGE_NAME, [...text.encode(page)]));

  const varint = (bytes, at) => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return [value, at];
    }
  };
  const finished = (bytes) => {
    for (let at = 0; at < bytes.length; ) {
      let tag, size;
      [tag, at] = varint(bytes, at);
      if (tag >> 3 === SCRIPT_FINISHED) return true;
      if ((tag & 7) === 0) [, at] = varint(bytes, at);
      else if ((tag & 7) === 2) {
        [size, at] = varint(bytes, at);
        at += size;
      } else at += (tag & 7) === 1 ? 8 : 4;
    }
    return false;
  };

  return new Promise((resolve, reject) => {
    const start = performance.now();
    const socket = new WebSocket(`${address.replace("http", "ws")}/_stcore/stream`, ["streamlit"]);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(new Uint8Array(request));
    socket.onmessage = (message) => {
      if (!finished(new Uint8Array(message.data))) return;
      resolve(performance.now() - start);
      socket.close();
    };
    socket.onerror = () => reject(new Error("the dashboard refused a connection"));
    setTimeout(() => reject(new Error("no answer within a minute")), 60_000);
  });
}
