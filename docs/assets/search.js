// To the search engine a dash before a word means "without it"; who types --tile looks for that option.
document.addEventListener("input", ({ target }) => {
  if (target.matches(".md-search__input")) target.value = target.value.replace(/(^|\s)-+(?=\w)/g, "$1");
}, true);
