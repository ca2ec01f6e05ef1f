// The panel and the keys. They change `state`, and tell with `changed` that they did.

const COLOURINGS = ["picture", "agent", "height"];
const SHOWN = { cameras: "f", axes: "a", boxes: "b", grid: "g" };

const byId = (id) => document.getElementById(id);

function makePanel(scene, state, actions) {
  const { changed } = actions;
  listAgents(scene, changed);
  const cut = byId("cut");
  cut.max = cut.value = scene.cut_end_m;
  byId("height-end").textContent = `${scene.height_end_m}+`;
  const ramp = RAMP.map((stop) => `rgb(${stop.join(" ")})`).join(", ");
  document.querySelector(".ramp").style.background = `linear-gradient(to right, ${ramp})`;
  byId("note").textContent = scene.note;

  function read() {
    state.size = 2 ** Number(byId("size").value);
    byId("size-value").value = `${state.size.toFixed(2)} ×`;
    state.cut = Number(cut.value) < scene.cut_end_m ? Number(cut.value) : Infinity;
    cut.title = "Points higher than this above the ground are hidden";
    byId("cut-value").value = state.cut < Infinity ? `${state.cut.toFixed(2)} m` : "all";
    const colouring = document.querySelector("input[name=colour]:checked").value;
    state.colouring = COLOURINGS.indexOf(colouring);
    byId("heights").hidden = colouring !== "height";
    for (const name of Object.keys(SHOWN)) state.shown[name] = byId(`show-${name}`).checked;
    changed();
  }

  for (const input of document.querySelectorAll("#panel input:not(.agent)")) input.addEventListener("input", read);
  const buttons = { measure: actions.measure, top: actions.fromAbove, reset: actions.reset, "help-button": showHelp };
  for (const [id, action] of Object.entries(buttons)) byId(id).addEventListener("click", action);
  if (window.innerWidth < 640) byId("panel").open = false;
  followKeys(scene, read, actions);
  read();
}

function listAgents(scene, changed) {
  for (const agent of scene.agents) {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "checkbox", className: "agent", checked: true });
    const swatch = document.createElement("i");
    swatch.style.background = cssColour(agent.colour);
    const name = Object.assign(document.createElement("span"), { textContent: agent.name });
    const count = (agent.positions.length / 3).toLocaleString("en");
    label.append(input, swatch, name, Object.assign(document.createElement("small"), { textContent: `${count} points` }));
    input.addEventListener("input", () => {
      agent.isShown = input.checked;
      changed();
    });
    byId("agents").append(label);
  }
}

function showHelp() {
  const help = byId("help");
  if (help.open) help.close();
  else help.showModal();
}

function followKeys(scene, read, actions) {
  const nudged = (id, direction) => {
    byId(id)[direction > 0 ? "stepUp" : "stepDown"]();
    read();
  };
  const toggled = (id) => {
    byId(id).checked = !byId(id).checked;
    read();
  };
  const keys = {
    "[": () => nudged("size", -1), "]": () => nudged("size", 1),
    ",": () => nudged("cut", -1), ".": () => nudged("cut", 1),
    "+": () => actions.zoom(0.85), "=": () => actions.zoom(0.85), "-": () => actions.zoom(1 / 0.85),
    c: () => {
      const choices = [...document.querySelectorAll("input[name=colour]")];
      choices[(choices.findIndex((one) => one.checked) + 1) % choices.length].checked = true;
      read();
    },
    m: actions.measure, t: actions.fromAbove, r: actions.reset, escape: actions.stopMeasuring,
    h: showHelp, "?": showHelp, p: () => (byId("panel").open = !byId("panel").open),
  };
  for (const [name, key] of Object.entries(SHOWN)) keys[key] = () => toggled(`show-${name}`);
  scene.agents.slice(0, 9).forEach((_, index) => (keys[index + 1] = () => document.querySelectorAll("input.agent")[index].click()));
  const arrows = { arrowleft: [-20, 0], arrowright: [20, 0], arrowup: [0, -20], arrowdown: [0, 20] };

  window.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.toLowerCase();
    const isInput = event.target instanceof HTMLInputElement;
    if (key in arrows && !isInput) {
      (event.shiftKey ? actions.move : actions.turn)(...arrows[key]);
      event.preventDefault();
    } else if (Object.hasOwn(keys, key)) {
      keys[key]();
    }
  });
}
