import { openCoco } from './coco-reader.ts';
import { checkInputs, type SourceFormat, type SourceInput } from './source.ts';

const IMAGES: SourceInput = {
  flag: 'images',
  what: 'folder',
  required: true,
  many: true,
  help: 'the images; several folders are searched in turn',
};
const CAPTIONS: SourceInput = {
  flag: 'captions',
  what: 'file',
  required: false,
  many: true,
  help: 'JSON with captions',
};

/** COCO's instances, captions and panoptic segments, and everything else that comes in these forms. */
export const coco: SourceFormat = {
  name: 'coco',
  describes: 'COCO: instances, captions, panoptic segments',
  inputs: [
    IMAGES,
    {
      flag: 'instances',
      what: 'file',
      required: false,
      many: true,
      help: 'JSON with boxes, masks and categories',
    },
    CAPTIONS,
    { flag: 'panoptic', what: 'file', required: false, many: true, help: 'JSON with panoptic segments' },
    {
      flag: 'panoptic-masks',
      what: 'folder',
      required: false,
      many: true,
      help: 'the PNG masks that the panoptic file names',
    },
  ],
  async open(options) {
    checkInputs(coco, options);
    return openCoco(options);
  },
};

/**
 * LVIS: COCO's form, with labels that were looked for in vain (`absent`) and labels of which not every object is annotated,
 * whose objects are marked as crowds: they must not be counted, nor be told apart by a name. How frequent a category is
 * changes nothing.
 */
export const lvis: SourceFormat = {
  name: 'lvis',
  describes: "LVIS: instances on COCO's images, with labels known to be absent",
  inputs: [
    IMAGES,
    {
      flag: 'instances',
      what: 'file',
      required: true,
      many: true,
      help: 'lvis_v1_train.json and its like',
    },
    CAPTIONS,
  ],
  async open(options) {
    checkInputs(lvis, options);
    return openCoco(options);
  },
};
