// The scene as the page carries it: numbers as JSON, arrays as base64 of little-endian bytes.

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index++) bytes[index] = text.charCodeAt(index);
  return bytes;
}

function decodedScene(element) {
  const scene = JSON.parse(element.textContent);
  element.remove();
  for (const agent of scene.agents) {
    agent.positions = new Int16Array(bytesOf(agent.positions).buffer);
    agent.paint = bytesOf(agent.paint);
    agent.isShown = true;
  }
  return scene;
}
