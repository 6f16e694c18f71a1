"use strict";
// Shows the readers in whose favourites or books every word of the search stands; few of them at once are opened.
const FEW = 5;
const search = document.getElementById("search");
if (search) {
  const wanted = document.getElementById("wanted");
  const found = document.getElementById("found");
  const readers = [...document.querySelectorAll("details.reader")];
  const texts = readers.map((reader) => reader.textContent.toLowerCase());
  const show = () => {
    const words = wanted.value.toLowerCase().split(/\s+/).filter(Boolean);
    const matches = texts.map((text) => words.every((word) => text.includes(word)));
    const count = matches.filter(Boolean).length;
    readers.forEach((reader, place) => {
      reader.hidden = !matches[place];
      reader.open = words.length > 0 && matches[place] && count <= FEW;
    });
    found.textContent = `${count} of ${readers.length} readers`;
  };
  wanted.addEventListener("input", show);
  search.hidden = false;
  show();
}
