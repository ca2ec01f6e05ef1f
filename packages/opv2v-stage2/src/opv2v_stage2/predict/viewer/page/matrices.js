// 4 x 4 matrices in rows, as Python wrote them; WebGL gets them transposed. Points are arrays [x, y, z].

function product(a, b) {
  const result = new Array(16).fill(0);
  for (let row = 0; row < 4; row++) {
    for (let column = 0; column < 4; column++) {
      for (let k = 0; k < 4; k++) result[4 * row + column] += a[4 * row + k] * b[4 * k + column];
    }
  }
  return result;
}

function transposed(m) {
  return new Float32Array([0, 1, 2, 3].flatMap((column) => [0, 1, 2, 3].map((row) => m[4 * row + column])));
}

function moved(m, [x, y, z]) {
  return [0, 4, 8].map((row) => m[row] * x + m[row + 1] * y + m[row + 2] * z + m[row + 3]);
}

function plus(a, b, factor = 1) {
  return a.map((value, axis) => value + factor * b[axis]);
}

function dot(a, b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

function distance(a, b) {
  return Math.hypot(...plus(a, b, -1));
}

// Camera space looks along -z, as WebGL has it; verticalFov in radians.
function perspective(verticalFov, aspect, near, far) {
  const focal = 1 / Math.tan(verticalFov / 2);
  const depth = near - far;
  return [focal / aspect, 0, 0, 0, 0, focal, 0, 0, 0, 0, (far + near) / depth, (2 * far * near) / depth, 0, 0, -1, 0];
}
