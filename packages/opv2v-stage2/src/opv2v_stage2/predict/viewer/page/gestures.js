// Mouse, pen and fingers: what a drag means, and what is only a click.

const CLICK_PX = 4;

function followPointers(canvas, orbit, { turned, clicked, doubleClicked }) {
  const pointers = new Map();
  let travelled = 0;

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    travelled = pointers.size > 1 ? Infinity : 0;
  });

  canvas.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    const step = [now[0] - before[0], now[1] - before[1]];
    travelled += Math.hypot(...step);
    if (pointers.size === 2) {
      const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
      const gap = ([x, y]) => Math.max(Math.hypot(x - other[0], y - other[1]), 1);
      orbit.zoom(gap(before) / gap(now));
      orbit.move(step[0] / 2, step[1] / 2, canvas.clientHeight);
    } else if (event.shiftKey || event.buttons & 6) {
      orbit.move(...step, canvas.clientHeight);
    } else {
      orbit.turn(...step);
    }
    pointers.set(event.pointerId, now);
    turned();
  });

  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => {
      const isClick = name === "pointerup" && event.button === 0 && travelled < CLICK_PX;
      if (pointers.delete(event.pointerId) && isClick) clicked(event.clientX, event.clientY);
    });
  }
  canvas.addEventListener("dblclick", (event) => doubleClicked(event.clientX, event.clientY));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 30 : 1;
    orbit.zoom(Math.exp(Math.min(Math.max(event.deltaY * lines, -200), 200) * 0.0012));
    turned();
  }, { passive: false });
}
