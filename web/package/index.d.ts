// e2enet for JavaScript: docs/web.md says more.

export type ErrorCode = 'invalid_argument' | 'cannot_read' | 'cannot_write' | 'invalid_model' | 'invalid_image' | 'out_of_memory' |
  'memory_limit' | 'cancelled' | 'internal';

/** One line: what failed, where, what was expected and what was found. */
export class E2enetError extends Error {
  constructor(code: ErrorCode, message: string);
  readonly code: ErrorCode;
}

export type Bytes = ArrayBuffer | ArrayBufferView | Blob;
export type VoxelArray = Uint8Array | Uint8ClampedArray | Int8Array | Uint16Array | Int16Array | Uint32Array | Int32Array | BigUint64Array |
  BigInt64Array | Float32Array | Float64Array;
export type Triple = [number, number, number];

/** The bytes of a NIfTI file; the name, which messages have, is optional but for .hdr and .img. */
export type ImageFile = Bytes | { bytes: Bytes; name?: string };

/** Voxels in memory, i fastest, then j, then k, as in a NIfTI file. */
export interface ImageArrays {
  /** One array, or one a channel. */
  data: VoxelArray | VoxelArray[];
  /** Voxels along i, j, k. */
  shape: Triple;
  /** mm along i, j, k. Without one, the lengths of the affine's columns. */
  spacing?: Triple;
  /** Row-major, or four rows: (i, j, k, 1) to mm, x to the right, y to the front, z upwards. Without one: RAS at the origin. */
  affine?: number[] | number[][];
  name?: string;
}

/** One file; several, each a channel, or .hdr and .img together; or arrays. */
export type Image = ImageFile | ImageFile[] | ImageArrays;

export interface Options {
  /** 0, the default: as many as there are cores. Without cross-origin isolation one, whatever is asked for. */
  threads?: number;
  /** Bytes of WebAssembly memory at the most: an image that cannot be done within them is refused. */
  memory?: number;
  /** 'auto', the default: 'f32', and 'bf16' where an image does not fit otherwise. */
  precision?: 'auto' | 'f32' | 'bf16';
  /** Distance of neighbouring tiles as a fraction of the patch: 0.5 */
  step?: number;
  /** Average over mirrored copies of each tile: better, 2 to 8 times slower. */
  mirror?: boolean;
  largestComponent?: 'model' | 'none' | 'all';
  allowImplausibleSpacing?: boolean;
  /** Stands for the model in messages. */
  name?: string;
}

/** Half-open, in voxels along i, j, k. */
export interface Box { begin: Triple; end: Triple }

export interface Geometry { shape: Triple; spacing: Triple; affine: number[][]; matrix: string; orientation: string }
export interface ImageDescription { geometry: Geometry; remarks: string[]; channels: number; voxels: number }

export interface Label { value: number; name: string; color: Triple }
export interface ModelDescription {
  labels: Label[];
  channels: number;
  parameters: number;
  /** D, H, W: the reverse of i, j, k. */
  patch: Triple;
  /** model_json() of include/e2enet/json.h. */
  json: Record<string, unknown>;
}

/** forecast_json() of include/e2enet/json.h. */
export interface Forecast {
  fits: boolean;
  network_shape: Triple;
  runs: number;
  seconds_a_run: number;
  seconds_network: number;
  plan: string;
  precision: 'f32' | 'bf16';
  peak_bytes: number;
  limit_bytes: number;
  smallest_limit_bytes: number;
  plans: { plan: string; peak_bytes: number }[];
  memory: Record<string, number>;
}

export interface Progress {
  stage: 'prepare' | 'segment' | 'export' | 'write' | 'later';
  done: number;
  total: number;
  /** Null while it is not known. */
  secondsLeft: number | null;
}

export interface SegmentOptions {
  /** Segment only these voxels; background outside. */
  box?: Box;
  /** Whether labels come as an array; default true. */
  labels?: boolean;
  /** The NIfTI file that is made: 'nii.gz', the default, 'nii' or false. */
  nifti?: 'nii.gz' | 'nii' | false;
  meanIntensities?: boolean;
  /** What it throws ends the work and comes out of segment(). */
  onProgress?(progress: Progress): void;
  /** Ends the work within one tile; segment() rejects with code 'cancelled'. */
  signal?: AbortSignal;
}

export interface LabelStatistics { name: string; voxels: number; ml: number; mean_intensity?: number | null; mean_intensity_per_channel?: (number | null)[] }
export interface Asymmetry { structure: string; left_label: number; right_label: number; left_ml: number; right_ml: number; asymmetry_percent: number | null }

export interface Segmentation {
  /** One a voxel of the image, i fastest. */
  labels?: Uint16Array;
  /** Bytes of a NIfTI file with the image's header and the intent that says labels. */
  nifti?: Uint8Array;
  geometry: Geometry;
  statistics: Record<string, LabelStatistics>;
  asymmetry: Asymmetry[];
  /** Lines that the user should know, warnings beginning with "warning: ". */
  remarks: string[];
  /** segmentation_json() of include/e2enet/json.h. */
  report: Record<string, unknown> & { plan: string; precision: string; planned_peak_bytes: number; runs: number; seconds: number; empty_image: boolean };
}

/** A worker with a model. One call runs at a time, others wait for it. */
export interface Segmenter {
  readonly model: ModelDescription | null;
  readonly machine: { version: string; instruction_set: string; threads: number };
  readonly threads: number;
  /** Why there are no more threads; empty where there are as many as can be. */
  readonly note: string;
  /** Bytes of memory that may be used. */
  readonly memory: number;
  /** Another model, in the worker that is there. */
  use(model: Bytes, options?: { name?: string }): Promise<Segmenter>;
  /** What an image's header says. */
  inspect(image: Image): Promise<ImageDescription>;
  /** The voxels of a channel, i fastest, scaled as the header says. */
  read(image: Image, options?: { channel?: number }): Promise<ImageDescription & { voxels: Float32Array; bytes: number }>;
  /** How segment() would do it, and what that takes. */
  forecast(image: Image, options?: { box?: Box }): Promise<Forecast>;
  segment(image: Image, options?: SegmentOptions): Promise<Segmentation>;
  /** Seconds of runs of the bare network on noise. */
  bench(options?: { runs?: number; precision?: 'f32' | 'bf16' }): Promise<{ seconds: number[]; planned_peak_bytes: number; patch: Triple; profile: Record<string, unknown> }>;
  /** Bytes of WebAssembly memory: in use now, grown to, and at most. */
  memoryInUse(): Promise<{ inUse: number; grown: number; most: number }>;
  ready(): Promise<Segmenter>;
  /** Ends the worker; what still runs rejects with code 'cancelled'. */
  close(): void;
}

/** Whether threads can share memory here. */
export function isolated(): boolean;
/** A worker without a model: it reads images, and segments once it has a model by use(). */
export function start(options?: Options): Promise<Segmenter>;
/** A worker with the model of these bytes. */
export function load(model: Bytes, options?: Options): Promise<Segmenter>;
