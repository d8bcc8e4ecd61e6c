// ---- the last hour: samples of the worker, as far as this tab has them; what it missed comes with the next stream ----
const hour = { process: "", next: 0, interval: 5, keeps: 3600, objectives: {}, at: [], series: {} };
const perSecond = value => value == null ? "not known" : `${count(value)}/s`;
const seconds = value => value == null ? "not known" : spelled(value);
const counted = value => value == null ? "not known" : count(value);
const shared = value => value == null ? "not known" : share(value);
const hourCharts = new Map();

function absorbHistory(said) {
  Object.assign(hour, { process: said.process, next: said.next, interval: said.interval_s, keeps: said.keeps_s, objectives: said.objectives });
  const before = hour.at.length, least = hour.at.at(-1) ?? -Infinity;
  const from = said.at.findIndex(each => each > least);
  if (from < 0) return;
  hour.at.push(...said.at.slice(from));
  for (const name of new Set([...Object.keys(hour.series), ...Object.keys(said.series)])) {
    const values = hour.series[name] ??= new Array(before).fill(null), more = said.series[name];
    values.push(...(more ? more.slice(from) : new Array(hour.at.length - before).fill(null)));
  }
  const spare = hour.at.length - Math.ceil(hour.keeps / hour.interval);
  if (spare > 0) for (const values of [hour.at, ...Object.values(hour.series)]) values.splice(0, spare);
}

const line = (name, label) => ({ label, values: hour.series[name] ?? new Array(hour.at.length).fill(null) });
const named = prefix => Object.keys(hour.series).filter(name => name.startsWith(prefix)).sort();
const goalOf = names => names.map(name => hour.objectives[name]).find(goal => goal != null) ?? null;

function hourLines() {  // title → [lines, how a figure is told, its objective]
  const lag = named("lag/"), rate = named("rate/"), hits = named("hits/").sort((a, b) => b.includes("overall") - a.includes("overall"));
  return {
    "Time to answer": [[line("answers/p50_s", "p50"), line("answers/p99_s", "p99")], seconds, null],
    "Requests": [[line("answers/requests_per_s", "all"), line("answers/degraded_per_s", "degraded"), line("answers/failed_per_s", "without an answer")], perSecond, null],
    "Events behind": [lag.length ? lag.map(name => line(name, name.slice(4))) : [line("lag/", "lag")], counted, goalOf(lag)],
    "Events absorbed": [rate.length ? rate.map(name => line(name, name.slice(5))) : [line("rate/", "events")], perSecond, null],
    "Found before learned": [hits.length ? hits.map(name => line(name, name.slice(5).replace("@", " @ "))) : [line("hits/", "live hit ratio")], shared, null],
  };
}

function showHour() {
  const options = { interval: hour.interval, keeps: hour.keeps };
  for (const [title, [lines, format, goal]] of Object.entries(hourLines())) {
    if (!hourCharts.has(title)) {
      hourCharts.set(title, new Chart(title, format, { most: format === shared ? 1 : Infinity }));
      by("hour").append(hourCharts.get(title).element);
    }
    hourCharts.get(title).update(hour.at, lines, { ...options, goal });
  }
  for (const [stage, { chart }] of stageCards) chart.update(hour.at, [line(`stage/${stage}`, stage)], { ...options, goal: hour.objectives[`stage/${stage}`] ?? null });
}
