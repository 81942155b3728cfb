// Makes a video of pictures in the browser: MP4 where it can write that, else WebM.

const TYPES = ["video/mp4;codecs=avc1.42E01F", "video/mp4", "video/webm;codecs=vp9", "video/webm"];
const type = () => TYPES.find((each) => globalThis.MediaRecorder?.isTypeSupported(each));

/** Whether this browser can. */
export const canRecord = () => type() !== undefined;

/** Save the pictures of some addresses as a video that goes there and back. It takes as long as the video does. */
export async function saveVideo(addresses, milliseconds) {
  const frames = await Promise.all(addresses.map(async (address) => createImageBitmap(await (await fetch(address)).blob())));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [frames[0].width & ~1, frames[0].height & ~1]; // H.264 needs even sides
  const pen = canvas.getContext("2d");
  const recorder = new MediaRecorder(canvas.captureStream(), { mimeType: type(), videoBitsPerSecond: 12e6 });
  const parts = [];
  recorder.ondataavailable = ({ data }) => parts.push(data);
  const stopped = new Promise((resolve) => (recorder.onstop = resolve));
  recorder.start();
  for (const frame of [...frames, ...frames.slice(1, -1).reverse(), frames[0]]) {
    pen.drawImage(frame, 0, 0);
    await new Promise((resolve) => setTimeout(resolve, milliseconds));
  }
  recorder.stop();
  await stopped;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(parts, { type: recorder.mimeType }));
  link.download = `ncsr-walk.${recorder.mimeType.includes("mp4") ? "mp4" : "webm"}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
