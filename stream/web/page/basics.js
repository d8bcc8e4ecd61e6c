// ---- small things ----
const by = id => document.getElementById(id);
const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value != null) element.setAttribute(name, value);
  element.append(...children.filter(child => child != null));
  return element;
};
const drawn = (tag, attributes) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};
const badge = (kind, text) => make("span", { class: `badge ${kind}` }, text);
const VERDICTS = { met: "● met", close: "▲ close to it", missed: "■ missed", unknown: "○ no data" };

function duration(s) {
  if (s == null) return ["–", ""];
  if (s < 0.9995) return [Math.ceil(s * 1000 - 1e-6).toString(), "ms"];
  const short = (value, unit) => [value < 9.95 ? value.toFixed(1).replace(".0", "") : value.toFixed(0), unit];
  if (s < 100) return short(s, "s");
  if (s < 5400) return short(s / 60, "min");
  return s < 172800 ? short(s / 3600, "h") : short(s / 86400, "days");
}
const spelled = s => duration(s).join(" ").trim();
const count = n => n == null ? "–" : n >= 1e6 ? `${(n / 1e6).toFixed(2)} M` : n.toLocaleString("en", { maximumFractionDigits: n < 10 ? 1 : 0 });
const share = x => x == null ? "–" : `${(100 * x).toFixed(x < 0.01 ? 2 : 1)} %`;
const ago = at => at == null ? "" : `${spelled(Math.max(0, Date.now() / 1000 - at))} ago`;

const bearing = token => (token ??= sessionStorage.getItem("token")) ? { Authorization: `Bearer ${token}` } : {};
let tokenAsked = null;
function askForToken() {  // kept in this tab only; one question, however many answers say that it is missing
  tokenAsked ??= new Promise(done => {
    const dialog = by("token-asked");
    dialog.querySelector("form").onsubmit = event => {
      event.preventDefault();
      const given = by("token").value.trim();
      if (given) sessionStorage.setItem("token", given);
      by("token").value = "";
      dialog.close();
    };
    dialog.onclose = () => { tokenAsked = null; done(); if (sessionStorage.getItem("token")) everyLook.forEach(look => look()); };
    dialog.showModal();
  });
  return tokenAsked;
}

async function ask(path, body, token) {
  const options = body ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) } : {};
  options.headers = { ...options.headers, ...bearing(token || undefined) };
  const response = await fetch(path, { ...options, signal: AbortSignal.timeout(body && path !== "v1/recommend" ? 60000 : 10000) });
  const said = await response.json();
  if (response.status === 401 && !token) askForToken();
  if (!response.ok) throw Object.assign(new Error(said.error ? [said.error.field, said.error.remedy].filter(Boolean).join(": ") : response.statusText), { status: response.status });
  return said;
}

for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());

