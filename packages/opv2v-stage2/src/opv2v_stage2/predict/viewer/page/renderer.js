// WebGL 1. Points are as large as what a pixel of their picture covered there; lines have a width in pixels.

const POINT_VERTEX = `
attribute vec3 position;
attribute vec4 paint;
uniform mat4 clip_from_main;
uniform vec3 offset;
uniform float step_m, footprint_m, pixels_per_metre, smallest_px, ground_z, cut_m, height_end_m;
uniform vec3 agent_colour;
uniform int colouring;
varying vec3 colour;

vec3 ramp(float share) {
  vec3 stops[5];
  stops[0] = RAMP0; stops[1] = RAMP1; stops[2] = RAMP2; stops[3] = RAMP3; stops[4] = RAMP4;
  vec3 result = stops[0];
  for (int i = 0; i < 4; i++) result = mix(result, stops[i + 1], clamp(share * 4.0 - float(i), 0.0, 1.0));
  return result;
}

void main() {
  vec3 point = offset + step_m * position;
  float height = point.z - ground_z;
  gl_Position = height > cut_m ? vec4(2.0, 2.0, 2.0, 1.0) : clip_from_main * vec4(point, 1.0);
  gl_PointSize = clamp(paint.a * footprint_m * pixels_per_metre / gl_Position.w, smallest_px, 80.0);
  float grey = dot(paint.rgb, vec3(0.3, 0.59, 0.11));
  if (colouring == 0) colour = paint.rgb;
  else if (colouring == 1) colour = mix(agent_colour, vec3(grey), 0.15) * (0.55 + 0.75 * grey);
  else colour = ramp(clamp(height / height_end_m, 0.0, 1.0)) * (0.75 + 0.4 * grey);
}`;

const POINT_FRAGMENT = `
precision mediump float;
varying vec3 colour;
void main() {
  vec2 from_middle = gl_PointCoord - 0.5;
  if (dot(from_middle, from_middle) > 0.25) discard;
  gl_FragColor = vec4(colour, 1.0);
}`;

const LINE_VERTEX = `
attribute vec3 here, there, line_colour;
attribute float side;
uniform mat4 clip_from_main;
uniform vec2 viewport;
uniform float width_px, near;
varying vec3 colour;

// The part of a line that lies behind the eye has no place on the screen.
vec4 before_eye(vec4 a, vec4 b) {
  return a.w < near && b.w > near ? mix(a, b, (near - a.w) / (b.w - a.w)) : a;
}

void main() {
  vec4 a = clip_from_main * vec4(here, 1.0), b = clip_from_main * vec4(there, 1.0);
  vec4 from = before_eye(a, b), to = before_eye(b, a);
  vec2 along = (to.xy / to.w - from.xy / from.w) * viewport;
  vec2 across = vec2(-along.y, along.x) / max(length(along), 1e-6);
  gl_Position = from + vec4(across * side * width_px / viewport * from.w, 0.0, 0.0);
  colour = line_colour;
}`;

const LINE_FRAGMENT = `
precision mediump float;
varying vec3 colour;
void main() { gl_FragColor = vec4(colour, 1.0); }`;

const RAMP = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]; // viridis
const BACKGROUND = [0.933, 0.945, 0.957];

function makeRenderer(gl, scene) {
  const vec3 = (rgb) => `vec3(${rgb.map((value) => (value / 255).toFixed(4)).join(", ")})`;
  const pointVertex = RAMP.reduce((text, stop, index) => text.replace(`RAMP${index}`, vec3(stop)), POINT_VERTEX);
  const points = compiled(gl, pointVertex, POINT_FRAGMENT);
  const lines = compiled(gl, LINE_VERTEX, LINE_FRAGMENT);
  const clouds = scene.agents.map((agent) => [agent, filled(gl, agent.positions), filled(gl, agent.paint)]);
  const lineBuffer = gl.createBuffer();
  let numLineVertices = 0;
  gl.enable(gl.DEPTH_TEST);
  gl.clearColor(...BACKGROUND, 1);

  function drawPoints(view) {
    gl.useProgram(points.program);
    const uniform = points.uniforms;
    gl.uniformMatrix4fv(uniform.clip_from_main, false, transposed(view.clipFromMain));
    gl.uniform1f(uniform.pixels_per_metre, view.pixelsPerMetre * view.ratio);
    gl.uniform1f(uniform.smallest_px, 1.5 * view.ratio);
    gl.uniform1f(uniform.ground_z, scene.ground_z);
    gl.uniform1f(uniform.cut_m, view.cut);
    gl.uniform1f(uniform.height_end_m, scene.height_end_m);
    gl.uniform1i(uniform.colouring, view.colouring);
    for (const [agent, positions, paint] of clouds) {
      if (!agent.isShown) continue;
      attribute(gl, points.attributes.position, positions, 3, gl.SHORT, false, 0, 0);
      attribute(gl, points.attributes.paint, paint, 4, gl.UNSIGNED_BYTE, true, 0, 0);
      gl.uniform3fv(uniform.offset, agent.offset);
      gl.uniform1f(uniform.step_m, agent.step);
      gl.uniform1f(uniform.footprint_m, agent.footprint_m * view.size);
      gl.uniform3fv(uniform.agent_colour, agent.colour);
      gl.drawArrays(gl.POINTS, 0, agent.positions.length / 3);
    }
  }

  function drawLines(view) {
    gl.useProgram(lines.program);
    gl.uniformMatrix4fv(lines.uniforms.clip_from_main, false, transposed(view.clipFromMain));
    gl.uniform2f(lines.uniforms.viewport, view.width * view.ratio, view.height * view.ratio);
    gl.uniform1f(lines.uniforms.width_px, 1.8 * view.ratio);
    gl.uniform1f(lines.uniforms.near, view.near);
    const parts = [["here", 3, 0], ["there", 3, 12], ["line_colour", 3, 24], ["side", 1, 36]];
    for (const [name, size, start] of parts) attribute(gl, lines.attributes[name], lineBuffer, size, gl.FLOAT, false, 40, start);
    gl.drawArrays(gl.TRIANGLES, 0, numLineVertices);
    for (const [name] of parts) gl.disableVertexAttribArray(lines.attributes[name]);
  }

  return {
    setLines(segments) {
      const vertices = segments.flatMap(([from, to, colour]) => {
        const a = [...from, ...to, ...colour];
        const b = [...to, ...from, ...colour];
        return [...a, 1, ...a, -1, ...b, 1, ...a, 1, ...b, 1, ...b, -1]; // looking back from b, left and right are swapped
      });
      numLineVertices = vertices.length / 10;
      gl.bindBuffer(gl.ARRAY_BUFFER, lineBuffer);
      gl.bufferData(gl.ARRAY_BUFFER, new Float32Array(vertices), gl.DYNAMIC_DRAW);
    },
    draw(view) {
      gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      drawPoints(view);
      drawLines(view);
    },
  };
}

function compiled(gl, vertexText, fragmentText) {
  const program = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, vertexText], [gl.FRAGMENT_SHADER, fragmentText]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  const [attributes, uniforms] = [{}, {}];
  for (let index = 0; index < gl.getProgramParameter(program, gl.ACTIVE_ATTRIBUTES); index++) {
    const { name } = gl.getActiveAttrib(program, index);
    attributes[name] = gl.getAttribLocation(program, name);
  }
  for (let index = 0; index < gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS); index++) {
    const { name } = gl.getActiveUniform(program, index);
    uniforms[name] = gl.getUniformLocation(program, name);
  }
  return { program, attributes, uniforms };
}

function filled(gl, array) {
  const buffer = gl.createBuffer();
  gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
  gl.bufferData(gl.ARRAY_BUFFER, array, gl.STATIC_DRAW);
  return buffer;
}

function attribute(gl, location, buffer, size, type, isNormalised, stride, start) {
  gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
  gl.enableVertexAttribArray(location);
  gl.vertexAttribPointer(location, size, type, isNormalised, stride, start);
}
