"""Images from the web, by their addresses: `fetch.fetch` is what a source of stage `sample` calls."""
