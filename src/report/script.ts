/** Shows the values of a chart under the pointer. Runs in the page; knows nothing but what the page holds. */
export const SCRIPT = `
for (const plot of document.querySelectorAll('.plot')) {
  const svg = plot.querySelector('svg');
  const cursor = plot.querySelector('.cursor');
  const tip = plot.querySelector('.tip');
  const series = JSON.parse(plot.querySelector('script').textContent);
  const { width, height } = svg.viewBox.baseVal;
  const make = (name, attributes, parent) => {
    const element = document.createElementNS(svg.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return parent.appendChild(element);
  };
  const short = value => Number(value.toPrecision(5)).toString();
  plot.addEventListener('pointermove', event => {
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * width;
    const near = series.map(({ name, color, points }) => {
      let best = points[0];
      for (const point of points) if (Math.abs(point[2] - x) < Math.abs(best[2] - x)) best = point;
      return { name, color, point: best };
    });
    const at = near.reduce((a, b) => (Math.abs(b.point[2] - x) < Math.abs(a.point[2] - x) ? b : a)).point;
    cursor.replaceChildren();
    make('line', { x1: at[2], x2: at[2], y1: 12, y2: height - 24 }, cursor);
    const shown = near.filter(({ point }) => Math.abs(point[2] - at[2]) < 12);
    tip.replaceChildren(document.createTextNode('step ' + at[0].toLocaleString('en-US')));
    for (const { name, color, point } of shown) {
      make('circle', { class: 'dot c' + color, cx: point[2], cy: point[3], r: 4 }, cursor);
      const row = document.createElement('div');
      const key = document.createElement('i');
      key.className = 'c' + color;
      row.append(key, (series.length > 1 ? name + ' ' : '') + short(point[1]));
      tip.append(row);
    }
    const left = (at[2] / width) * box.width;
    tip.style.left = left > box.width / 2 ? '' : left + 12 + 'px';
    tip.style.right = left > box.width / 2 ? box.width - left + 12 + 'px' : '';
    tip.style.opacity = 1;
  });
  plot.addEventListener('pointerleave', () => {
    cursor.replaceChildren();
    tip.style.opacity = 0;
  });
}
`;
