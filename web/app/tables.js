// Volumes as tables, and as text for a spreadsheet.

const figure = (value, digits = 2) => (value === null || value === undefined ? '–' : value.toFixed(digits));

function element(name, text = '', attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function swatch(color) {
  const made = element('span', '', { class: 'swatch', 'aria-hidden': 'true' });
  made.style.background = `rgb(${color.join(' ')})`;
  return made;
}

function table(caption, columns, rows) {
  const made = element('table');
  made.append(element('caption', caption));
  const head = element('tr');
  columns.forEach((column, n) => head.append(element('th', column, n === 0 ? { scope: 'col' } : { scope: 'col', class: 'figure' })));
  const thead = element('thead');
  thead.append(head);
  const body = element('tbody');
  for (const { name, colors, figures, absent } of rows) {
    const row = element('tr', '', absent ? { class: 'absent' } : {});
    const title = element('th', '', { scope: 'row' });
    title.append(...colors.map(swatch), name);
    row.append(title, ...figures.map((value) => element('td', value)));
    body.append(row);
  }
  made.append(thead, body);
  return made;
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// Structures with sides in one table, the others in another.
export function tablesOf({ statistics, asymmetry }, labels) {
  const color = new Map(labels.map((one) => [one.value, one.color]));
  const tables = [];
  const sided = new Set(asymmetry.flatMap((one) => [one.left_label, one.right_label]));
  if (asymmetry.length > 0) {
    tables.push(table('Left and right', ['Structure', 'Left, mL', 'Right, mL', 'Asymmetry, %'], asymmetry.map((one) => ({
      name: capital(one.structure), colors: [color.get(one.left_label), color.get(one.right_label)].filter(Boolean),
      figures: [figure(one.left_ml), figure(one.right_ml), figure(one.asymmetry_percent, 1)], absent: one.asymmetry_percent === null,
    }))));
  }
  const others = Object.entries(statistics).filter(([value]) => !sided.has(Number(value)));
  if (others.length > 0) {
    const intensities = others.some(([, one]) => one.mean_intensity !== undefined);
    tables.push(table(asymmetry.length > 0 ? 'Without sides' : 'Structures', ['Structure', 'Voxels', 'mL', ...(intensities ? ['Mean intensity'] : [])],
                      others.map(([value, one]) => ({
                        name: capital(one.name || `Label ${value}`), colors: [color.get(Number(value))].filter(Boolean),
                        figures: [String(one.voxels), figure(one.ml), ...(intensities ? [figure(one.mean_intensity, 1)] : [])], absent: one.voxels === 0,
                      }))));
  }
  return tables;
}

const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

// One line a label; asymmetry on those of its two labels.
export function csvOf({ statistics, asymmetry }) {
  const of = new Map(asymmetry.flatMap((one) => [[one.left_label, one.asymmetry_percent], [one.right_label, one.asymmetry_percent]]));
  const lines = ['label,name,voxels,ml,mean_intensity,asymmetry_percent'];
  for (const [value, one] of Object.entries(statistics)) {
    lines.push([value, quoted(one.name), one.voxels, one.ml, one.mean_intensity ?? '', of.get(Number(value)) ?? ''].join(','));
  }
  return `${lines.join('\n')}\n`;
}
