// Masks and overlays as files: the mask in the picture's full size, the overlay as it is seen.

const maskButton = document.getElementById("save-mask");
const overlayButton = document.getElementById("save-overlay");

/** Whether there is something to save. */
export function allow(on) {
  maskButton.disabled = !on;
  overlayButton.disabled = !on;
}

function save(blob, name, ending) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${name.replace(/\.\w+$/, "").replaceAll(/[^\w.-]+/g, "_")}${ending}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** `current()` is the picture that is shown; `mask(blob)` and `overlay()` resolve to PNG files. */
export function onSave({ current, mask, overlay, complain }) {
  maskButton.addEventListener("click", async () => {
    const { blob, name } = current();
    try {
      save(await mask(blob), name, "_mask");
    } catch (error) {
      complain(error.message);
    }
  });
  overlayButton.addEventListener("click", async () => save(await overlay(), current().name, "_overlay"));
}
