// Text over the picture: names of vehicles, the measured distance, the scale bar.

function cssColour(colour) {
  return `rgb(${colour.map((value) => Math.round(255 * value)).join(" ")})`;
}

// Where a point is on the screen, or null behind the eye.
function onScreen(view, [x, y, z]) {
  const m = view.clipFromMain;
  const [right, up, , depth] = [0, 4, 8, 12].map((row) => m[row] * x + m[row + 1] * y + m[row + 2] * z + m[row + 3]);
  return depth > 0 ? [((right / depth + 1) * view.width) / 2, ((1 - up / depth) * view.height) / 2] : null;
}

function placeLabel(parent, view, text, point, style) {
  const place = onScreen(view, point);
  if (!place) return;
  const label = document.createElement("span");
  label.textContent = text;
  Object.assign(label.style, style, { transform: `translate(${place[0]}px, ${place[1]}px) translate(-50%, -100%)` });
  parent.append(label);
}

function placeLabels(parent, view, scene, measured) {
  parent.replaceChildren();
  for (const agent of scene.agents.filter((one) => one.isShown)) {
    placeLabel(parent, view, agent.name, moved(agent.main_from_lidar, [0, 0, 1.2]), { background: cssColour(agent.colour) });
  }
  const dark = { background: cssColour(MEASURE_COLOUR) };
  if (measured.length === 1) placeLabel(parent, view, "from here", measured[0], dark);
  if (measured.length === 2) {
    const middle = plus(measured[0], measured[1]).map((value) => value / 2);
    placeLabel(parent, view, `${distance(...measured).toFixed(2)} m`, middle, dark);
  }
}

// The longest of 1, 2, 5, 10, ... metres that fits into 180 pixels, as long as it looks at the middle of the view.
function drawScale(element, metresPerPixel) {
  const limit = 180 * metresPerPixel;
  const power = 10 ** Math.floor(Math.log10(limit));
  const metres = power * [5, 2, 1].find((factor) => factor * power <= limit);
  element.querySelector("span").textContent = `${metres < 1 ? metres.toFixed(1) : metres} m at the middle of the view`;
  element.querySelector("div").style.width = `${metres / metresPerPixel}px`;
}
