// Puts the parts together. Draws when something has changed, never otherwise.

function show(gl) {
  byId("still").hidden = true;
  byId("viewer").hidden = false;
  const canvas = gl.canvas;
  const scene = decodedScene(byId("scene"));
  const first = firstView(scene, canvas.clientWidth / canvas.clientHeight);
  const orbit = makeOrbit(first);
  const state = { size: 1, cut: Infinity, colouring: 0, shown: {} };
  let renderer = makeRenderer(gl, scene);
  let measured = [];
  let isMeasuring = false;
  let isDue = false;
  let isStale = true; // the lines no longer show the state

  function view() {
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const pixelsPerMetre = height / 2 / Math.tan(VERTICAL_FOV / 2);
    const clipFromMain = orbit.clipFromMain(width / height);
    return { ...state, width, height, ratio: window.devicePixelRatio, pixelsPerMetre, clipFromMain, near: orbit.distance / 100 };
  }

  function redraw() {
    if (!isDue) requestAnimationFrame(draw);
    isDue = true;
  }

  function changed() {
    isStale = true;
    redraw();
  }

  function draw() {
    isDue = false;
    const now = view();
    fit(canvas, now);
    if (isStale) renderer.setLines(outlines(scene, state.shown, measured, first));
    isStale = false;
    renderer.draw(now);
    placeLabels(byId("labels"), now, scene, measured);
    drawScale(byId("scale"), orbit.metresPerPixel(now.height));
    const instruction = ["Click the first point", "Click the second point"][measured.length];
    byId("measured").hidden = !isMeasuring;
    byId("measured").textContent = instruction ?? measuredText(measured);
    canvas.classList.toggle("measuring", isMeasuring);
    byId("measure").setAttribute("aria-pressed", isMeasuring);
  }

  const then = (action, tell = changed) => (...values) => {
    action(...values);
    tell();
  };
  const setMeasuring = (value) => {
    isMeasuring = value;
    measured = [];
  };
  makePanel(scene, state, {
    changed,
    zoom: then(orbit.zoom, redraw),
    turn: then(orbit.turn, redraw),
    move: then((right, down) => orbit.move(right, down, canvas.clientHeight), redraw),
    reset: then(orbit.reset, redraw),
    fromAbove: then(orbit.fromAbove, redraw),
    measure: then(() => setMeasuring(!isMeasuring)),
    stopMeasuring: then(() => setMeasuring(false)),
  });
  followPointers(canvas, orbit, {
    turned: redraw,
    clicked: then((x, y) => {
      const point = isMeasuring && pickedPoint(scene, view(), x, y);
      if (point) measured = measured.length < 2 ? [...measured, point] : [point];
    }),
    doubleClicked: then((x, y) => {
      const point = !isMeasuring && pickedPoint(scene, view(), x, y);
      if (point) orbit.target = point;
    }, redraw),
  });
  window.addEventListener("resize", redraw);
  canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
  canvas.addEventListener("webglcontextrestored", then(() => (renderer = makeRenderer(gl, scene))));
}

// Setting a size clears the canvas, even when it is the same.
function fit(canvas, { width, height, ratio }) {
  const size = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
}

const gl = byId("canvas").getContext("webgl", { antialias: true });
if (gl) show(gl);
