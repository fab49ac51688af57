// Plots. plotly.js is packed into the page; what is on its own axes and colours is the page's theme.
async function unpacked(element) {
  const packed = Uint8Array.from(atob(element.textContent), c => c.charCodeAt(0));
  return await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

const plotly = (async () => {
  const script = document.createElement("script");
  script.textContent = await unpacked(document.getElementById("plotly"));
  document.head.append(script);
})();

// The figure in the page's colours. A marker has a rim: yellow on white is told apart by it.
function themed(figure) {
  const ink = isDark() ? "#e8e8e8" : "#1b1b1b", grid = isDark() ? "#3c4043" : "#dcdcdc";
  const paper = isDark() ? "#16181a" : "#ffffff";
  const axis = {gridcolor: grid, zerolinecolor: grid, linecolor: grid, automargin: true};
  const layout = {
    ...figure.layout, paper_bgcolor: paper, plot_bgcolor: paper, dragmode: false,
    font: {color: ink, family: "system-ui, sans-serif"},
    xaxis: {...axis, ...figure.layout.xaxis}, yaxis: {...axis, ...figure.layout.yaxis},
  };
  const rim = trace => trace.marker && !String(trace.marker.symbol).endsWith("-open") && trace.type !== "bar"
    ? {...trace, marker: {...trace.marker, line: {color: ink, width: 1}}} : trace;
  return {data: figure.data.map(rim), layout};
}

async function drawn(place, figure) {
  await plotly;
  const {data, layout} = themed(figure);
  await Plotly.react(place, data, layout, {responsive: true, displayModeBar: false});
}

async function drawAll() {
  for (const place of document.querySelectorAll(".plot")) {
    const content = place.querySelector("script");
    if (content) await drawn(place.querySelector("div"), JSON.parse(content.textContent));
  }
}

drawAll();
document.addEventListener("theme", drawAll);
