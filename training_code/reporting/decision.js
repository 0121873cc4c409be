// Which model at which threshold costs least: the arithmetic of training_code/comparison/decision.py, in a page.
const ROUNDING = 1e-9;

function weights(line) {
  return {
    refusing: line.parts_a_day * (1 - line.defective_share) * line.false_alarm_cost,
    passing: line.parts_a_day * line.defective_share * line.miss_cost,
  };
}

function costAt(alarms, misses, line) {
  const { refusing, passing } = weights(line);
  const cost = refusing * alarms[0] + passing * misses[0];
  const away = (end) => Math.hypot(refusing * (alarms[end] - alarms[0]), passing * (misses[end] - misses[0]));
  return [cost, cost - away(1), cost + away(2)];
}

function bestPoint(curve, line, least) {
  let best = -1;
  let lowest = Infinity;
  curve.misses.forEach((misses, point) => {
    if (1 - misses[0] < least - ROUNDING) return;
    const cost = costAt(curve.alarms[point], misses, line)[0];
    if (cost < lowest) [best, lowest] = [point, cost];
  });
  return best;
}

function flatteryOf(values, line) {
  const { refusing, passing } = weights(line);
  const all = refusing + passing;
  if (all === 0) return 0;
  const place = (passing / all) * (values.length - 1);
  const step = Math.min(Math.floor(place), values.length - 2);
  return all * (values[step] + (values[step + 1] - values[step]) * (place - step));
}

function rowOf(one, line, words) {
  const deployed = line.threshold === words.rule;
  const curve = deployed ? one.deployed : one.curve;
  if (curve === null) return { one, rank: null, note: words.no_threshold };
  let note = "";
  let point = bestPoint(curve, line, line.least_found);
  if (point < 0) {
    note = words.too_few;
    point = bestPoint(curve, line, 0);
  }
  const [alarms, misses] = [curve.alarms[point], curve.misses[point]];
  const flattery = deployed ? null : flatteryOf(one.flattery, line);
  return { one, rank: null, note, alarms, misses, cost: costAt(alarms, misses, line), flattery,
    threshold: curve.thresholds[point] };
}

function ranking(candidates, line, words) {
  const rows = candidates.filter((one) => one.group === line.group).map((one) => rowOf(one, line, words));
  const able = rows.filter((row) => row.note === "").sort((a, b) => a.cost[0] - b.cost[0]);
  able.forEach((row, number) => { row.rank = number + 1; });
  return [...able, ...rows.filter((row) => row.note !== "")];
}

// The cheapest model without labels and that with labels, of all that are shown beside those of the group.
function cheapestOfClasses(candidates, line, words) {
  const beside = new Set(candidates.filter((one) => one.group === line.group).map((one) => one.beside));
  const rows = candidates.filter((one) => beside.has(one.beside)).map((one) => rowOf(one, line, words))
    .filter((row) => row.note === "");
  const found = [false, true].map((saw) => rows.filter((row) => row.one.saw_labels === saw))
    .filter((some) => some.length).map((some) => some.reduce((best, row) => (row.cost[0] < best.cost[0] ? row : best)));
  return found.length === 2 ? found : [];
}

const money = (value) => value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const few = (value) => String(Number(value.toFixed(value < 10 ? 2 : 0)));

function answer(rows, line, words, candidates) {
  const ranked = rows.filter((row) => row.rank !== null);
  const named = candidates.find((candidate) => candidate.group === line.group);
  if (!ranked.length) return [(named ? `On ${named.dataset} no` : "No") + words.none];
  const [best, deployed] = [ranked[0], line.threshold === words.rule];
  const { one, cost } = best;
  const { refusing, passing } = weights(line);
  const alarms = best.alarms.map((rate) => few(1000 * (1 - line.defective_share) * rate));
  const misses = best.misses.map((rate) => few(1000 * line.defective_share * rate));
  const overlap = ranked.slice(1).filter((row) => row.cost[1] <= cost[2]).length;
  const classes = cheapestOfClasses(candidates, line, words).map((row) => `${row.one.labels}: ${row.one.named}, `
    + `${money(row.cost[0])} a day (95% interval ${money(row.cost[1])} to ${money(row.cost[2])})`);
  const idle = passing <= refusing ? "passing" : "refusing";
  return [
    `On ${named.dataset}: choose ${one.model}${one.details ? ` (${one.details})` : ""}`
      + `${deployed ? ", with its threshold in force, " : " at threshold "}${best.threshold}`
      + `${best.threshold.includes(" to ") ? ` (each of its ${one.seeds} seeds has its own)` : ""}. `
      + `Of ${ranked.length} models it costs least.`,
    `Of 1,000 parts, ${Number((1000 * line.defective_share).toFixed(2))} of them defective, it refuses ${alarms[0]} `
      + `good ones (95% interval ${alarms[1]} to ${alarms[2]}) and passes ${misses[0]} defective ones `
      + `(${misses[1]} to ${misses[2]}).`,
    `It costs ${money(cost[0])} a day (95% interval ${money(cost[1])} to ${money(cost[2])}).`
      + (cost[0] < Math.min(refusing, passing) ? ""
        : ` That is no less than ${idle} every part: it is worth nothing here.`),
    ranked.length < 2 ? "" : `Models ranked below it whose intervals overlap with its own: ${overlap} of `
      + `${ranked.length - 1}. On other images they may cost less.`,
    classes.length ? `${words.classes}${classes.join("; ")}.` : "",
    deployed ? words.deployed : `${words.chosen}${money(best.flattery)} a day more.`,
  ];
}

function cellsOf(row, line) {
  const { one } = row;
  const known = [row.rank ?? "-", one.model, one.details];
  if (row.cost === undefined) return [...known, "", "", "", "", "", "", "", row.note, one.promise];
  return [...known, row.threshold, (1000 * (1 - line.defective_share) * row.alarms[0]).toFixed(2),
    (1000 * line.defective_share * row.misses[0]).toFixed(2), `${(100 * (1 - row.misses[0])).toFixed(1)}%`,
    ...row.cost.map(money), row.note, one.promise];
}

function start(place, content) {
  const field = (name) => place.querySelector(`[name=${name}]`);
  function show() {
    const line = { group: field("group").value, threshold: field("threshold").value };
    for (const [name, example] of Object.entries(content.numbers)) {
      const value = field(name).valueAsNumber;
      const percent = name === "defective_share" || name === "least_found";
      const given = Number.isFinite(value) ? Math.max(0, value) : null;
      line[name] = given === null ? example : percent ? Math.min(1, given / 100) : given;
    }
    const rows = ranking(content.candidates, line, content.words);
    const fill = (selector, texts, tag) => place.querySelector(selector).replaceChildren(...texts.map((text) => {
      const element = document.createElement(tag);
      element.append(text);
      return element;
    }));
    fill(".answer", answer(rows, line, content.words, content.candidates).filter(Boolean), "p");
    place.querySelector("tbody").replaceChildren(...rows.map((row) => {
      const element = document.createElement("tr");
      element.dataset.run = row.one.run_id;
      element.dataset.cost = row.cost ? row.cost.join(" ") : "";
      element.append(...cellsOf(row, line).map((text) => {
        const cell = document.createElement("td");
        cell.append(String(text));
        return cell;
      }));
      return element;
    }));
  }
  place.addEventListener("input", show);
  show();
}
