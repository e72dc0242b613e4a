// Sends the request of a form on the page of the OpenAPI document, and shows what is answered.

const token = document.querySelector("#token");
if (token) {
  token.value = sessionStorage.getItem("token") ?? "";
  token.addEventListener("input", () => sessionStorage.setItem("token", token.value));
}

for (const form of document.querySelectorAll("form")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form);
  });
}

async function send(form) {
  const output = form.querySelector("output");
  output.textContent = "…";
  try {
    const answer = await fetch(addressOf(form), {
      method: form.dataset.method,
      headers: headersOf(form),
      body: form.elements.namedItem("body")?.value,
    });
    output.textContent = await shown(answer);
  } catch (error) {
    output.textContent = String(error);
  }
}

// The server's own address, with the values of the path's and the query's parameters.
function addressOf(form) {
  let path = form.dataset.path;
  const query = new URLSearchParams();
  for (const field of form.querySelectorAll("[data-in]")) {
    if (field.dataset.in === "path") {
      path = path.replace(`{${field.name}}`, encodeURIComponent(field.value));
    } else if (field.dataset.in === "query" && field.value !== "") {
      query.set(field.name, field.value);
    }
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

function headersOf(form) {
  const headers = new Headers();
  if (token?.value) headers.set("Authorization", `Bearer ${token.value}`);
  const type = form.elements.namedItem("media_type")?.value;
  if (type) headers.set("Content-Type", type);
  for (const field of form.querySelectorAll("[data-in=header]")) {
    if (field.value) headers.set(field.name, field.value);
  }
  return headers;
}

async function shown(answer) {
  const text = await answer.text();
  const isJson = /\bjson$/.test((answer.headers.get("Content-Type") ?? "").split(";")[0]);
  return `${answer.status} ${answer.statusText}\n\n${isJson ? JSON.stringify(JSON.parse(text), null, 2) : text}`;
}
