// A camera that orbits a target. Angles in radians, lengths in metres, z up.

const VERTICAL_FOV = Math.PI / 4;
const BEHIND = Math.PI; // seen from behind the main vehicle, which drives along +x

function makeOrbit(first) {
  const orbit = {
    reset() {
      Object.assign(orbit, first, { target: [...first.target] });
    },
    fromAbove() {
      orbit.azimuth = BEHIND;
      orbit.elevation = Math.PI / 2;
    },
    // Right, up and backward of the camera; they exist straight from above, too.
    axes() {
      const [ca, sa, ce, se] = [Math.cos(orbit.azimuth), Math.sin(orbit.azimuth), Math.cos(orbit.elevation), Math.sin(orbit.elevation)];
      return [[-sa, ca, 0], [-se * ca, -se * sa, ce], [ce * ca, ce * sa, se]];
    },
    eye() {
      return plus(orbit.target, orbit.axes()[2], orbit.distance);
    },
    clipFromMain(aspect) {
      const eye = orbit.eye();
      const rows = orbit.axes().flatMap((axis) => [...axis, -dot(axis, eye)]);
      const reach = orbit.distance + 400;
      return product(perspective(VERTICAL_FOV, aspect, orbit.distance / 100, reach), [...rows, 0, 0, 0, 1]);
    },
    metresPerPixel(heightPx) {
      return (2 * orbit.distance * Math.tan(VERTICAL_FOV / 2)) / heightPx;
    },
    turn(rightPx, downPx) {
      orbit.azimuth -= rightPx * 0.006;
      orbit.elevation = Math.min(Math.max(orbit.elevation + downPx * 0.006, -0.1), Math.PI / 2);
    },
    move(rightPx, downPx, heightPx) {
      const [right, up] = orbit.axes();
      const metres = orbit.metresPerPixel(heightPx);
      orbit.target = plus(plus(orbit.target, right, -rightPx * metres), up, downPx * metres);
    },
    zoom(factor) {
      orbit.distance = Math.min(Math.max(orbit.distance * factor, 1), 1000);
    },
  };
  orbit.reset();
  return orbit;
}

// Everybody in view, from behind and above the main vehicle and a little to its side; from further away where the
// window is narrow.
function firstView(scene, aspect) {
  const positions = scene.agents.map((agent) => moved(agent.main_from_lidar, [0, 0, 0]));
  const target = [0, 1, 2].map((axis) => {
    const values = positions.map((position) => position[axis]);
    return (Math.min(...values) + Math.max(...values)) / 2;
  });
  const spread = Math.max(...positions.map((position) => distance(position, target)));
  const distanceM = (32 + 1.7 * spread) / Math.min(aspect, 1);
  return { target: [target[0], target[1], scene.ground_z], distance: distanceM, azimuth: BEHIND + 0.5, elevation: 0.62 };
}
