"""Where stage `sample` takes images from: a module each, whose `Source` has the keys of section `sample` as fields."""
