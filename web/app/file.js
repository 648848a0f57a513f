// Not a module, since from a file none is loaded: says why nothing happens.
if (location.protocol === 'file:') document.getElementById('from-file').hidden = false;
