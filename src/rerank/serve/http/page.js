"use strict";
const field = name => document.getElementById(name);
field("form").addEventListener("submit", async event => {
  event.preventDefault();
  field("problem").textContent = field("words").textContent = "";
  field("ranked").replaceChildren();
  const documents = field("texts").value.split("\n").map(line => line.trim()).filter(line => line);
  const headers = {"Content-Type": "application/json"};
  if (field("token").value) headers.Authorization = "Bearer " + field("token").value;
  try {
    const started = performance.now();
    const body = JSON.stringify({query: field("query").value, documents});
    const answer = await fetch("/v1/rerank", {method: "POST", headers, body});
    const content = await answer.json();
    if (!answer.ok) throw new Error(content.message);
    const milliseconds = Math.round(performance.now() - started);
    field("words").textContent = [`${documents.length} books in ${milliseconds} ms`, ...content.meta.warnings].join("; ");
    for (const {index, relevance_score} of content.results) {
      const item = document.createElement("li"), score = document.createElement("span"), meter = document.createElement("meter");
      score.className = "score";
      score.textContent = relevance_score.toFixed(3);
      meter.value = relevance_score;
      meter.setAttribute("aria-hidden", "true");
      item.append(score, documents[index], meter);
      field("ranked").append(item);
    }
  } catch (error) {
    field("problem").textContent = error.message;
  }
});
