// Which point lies under the cursor: of those that are near it on the screen, the one nearest to the eye.

const PICK_PX = 7;

function pickedPoint(scene, view, x, y) {
  const m = view.clipFromMain;
  const [clipX, clipY] = [(2 * x) / view.width - 1, 1 - (2 * y) / view.height];
  let best = null;
  let nearest = Infinity;
  for (const agent of scene.agents.filter((one) => one.isShown)) {
    const [ox, oy, oz] = agent.offset;
    const { positions, step } = agent;
    for (let index = 0; index < positions.length; index += 3) {
      const px = ox + step * positions[index];
      const py = oy + step * positions[index + 1];
      const pz = oz + step * positions[index + 2];
      if (pz - scene.ground_z > view.cut) continue;
      const depth = m[12] * px + m[13] * py + m[14] * pz + m[15];
      if (depth <= 0 || depth >= nearest) continue;
      const right = ((m[0] * px + m[1] * py + m[2] * pz + m[3]) / depth - clipX) * view.width / 2;
      const up = ((m[4] * px + m[5] * py + m[6] * pz + m[7]) / depth - clipY) * view.height / 2;
      if (right * right + up * up > PICK_PX * PICK_PX) continue;
      nearest = depth;
      best = [px, py, pz];
    }
  }
  return best;
}

function measuredText([a, b]) {
  const [dx, dy, dz] = plus(b, a, -1);
  const metres = (value) => `${value.toFixed(2)} m`;
  return `${metres(Math.hypot(dx, dy, dz))} (along the ground ${metres(Math.hypot(dx, dy))}, in height ${metres(Math.abs(dz))})`;
}
