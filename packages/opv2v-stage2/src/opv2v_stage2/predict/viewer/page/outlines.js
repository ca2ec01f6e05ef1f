// Everything that is drawn as lines: [from, to, colour] with colours from 0 to 1.

const AXIS_COLOURS = [[0.84, 0.15, 0.16], [0.16, 0.62, 0.23], [0.18, 0.44, 0.84]];
const BOX_COLOUR = [0.9, 0, 0.49];
const GRID_COLOUR = [0.78, 0.81, 0.84];
const MEASURE_COLOUR = [0.11, 0.14, 0.17];
const AXIS_M = 2;
const FRUSTUM_M = 1.2;
const GRID_M = 10;

function axesOf(agent) {
  const origin = moved(agent.main_from_lidar, [0, 0, 0]);
  return AXIS_COLOURS.map((colour, axis) => {
    const tip = [0, 0, 0];
    tip[axis] = AXIS_M;
    return [origin, moved(agent.main_from_lidar, tip), colour];
  });
}

function frustumOf(camera, colour) {
  const [across, down] = camera.tangents;
  const apex = moved(camera.main_from_camera, [0, 0, 0]);
  const corners = [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([x, y]) =>
    moved(camera.main_from_camera, [x * across * FRUSTUM_M, y * down * FRUSTUM_M, FRUSTUM_M]));
  return corners.flatMap((corner, index) => [[apex, corner, colour], [corner, corners[(index + 1) % 4], colour]]);
}

// Twelve edges, and a stroke on the roof from the middle to the front.
function outlineOf(box) {
  const corner = (bits) => moved(box.main_from_box, box.half_size.map((half, axis) => (bits & (1 << axis) ? half : -half)));
  const edges = [];
  for (let bits = 0; bits < 8; bits++) {
    for (const flip of [1, 2, 4]) {
      if (!(bits & flip)) edges.push([corner(bits), corner(bits | flip), BOX_COLOUR]);
    }
  }
  const [length, , height] = box.half_size;
  edges.push([moved(box.main_from_box, [0, 0, height]), moved(box.main_from_box, [length, 0, height]), BOX_COLOUR]);
  return edges;
}

// In pieces of one square: the depth of one long and thin line comes out wrong on some rasterizers.
function gridAround([x, y], groundZ, reach) {
  const start = [x, y].map((value) => (Math.round(value / GRID_M) - Math.ceil(reach / GRID_M)) * GRID_M);
  const count = 2 * Math.ceil(reach / GRID_M);
  const lines = [];
  for (let row = 0; row <= count; row++) {
    for (let column = 0; column <= count; column++) {
      const corner = [start[0] + row * GRID_M, start[1] + column * GRID_M, groundZ];
      if (row < count) lines.push([corner, plus(corner, [GRID_M, 0, 0]), GRID_COLOUR]);
      if (column < count) lines.push([corner, plus(corner, [0, GRID_M, 0]), GRID_COLOUR]);
    }
  }
  return lines;
}

function outlines(scene, shown, measured, first) {
  const agents = scene.agents.filter((agent) => agent.isShown);
  return [
    ...(shown.grid ? gridAround(first.target, scene.ground_z, first.distance * 1.5) : []),
    ...(shown.boxes ? scene.boxes.flatMap(outlineOf) : []),
    ...(shown.axes ? agents.flatMap(axesOf) : []),
    ...(shown.cameras ? agents.flatMap((agent) => agent.cameras.flatMap((camera) => frustumOf(camera, agent.colour))) : []),
    ...(measured.length === 2 ? [[...measured, MEASURE_COLOUR]] : []),
  ];
}
