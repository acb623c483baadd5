/** Names of COCO's 80 categories, in the order of their ids. */
export const COCO_NAMES: readonly string[] = [
  ...['person', 'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train', 'truck', 'boat', 'traffic light'],
  ...['fire hydrant', 'stop sign', 'parking meter', 'bench', 'bird', 'cat', 'dog', 'horse', 'sheep', 'cow'],
  ...[
    'elephant',
    'bear',
    'zebra',
    'giraffe',
    'backpack',
    'umbrella',
    'handbag',
    'tie',
    'suitcase',
    'frisbee',
  ],
  ...[
    'skis',
    'snowboard',
    'sports ball',
    'kite',
    'baseball bat',
    'baseball glove',
    'skateboard',
    'surfboard',
  ],
  ...['tennis racket', 'bottle', 'wine glass', 'cup', 'fork', 'knife', 'spoon', 'bowl', 'banana', 'apple'],
  ...['sandwich', 'orange', 'broccoli', 'carrot', 'hot dog', 'pizza', 'donut', 'cake', 'chair', 'couch'],
  ...['potted plant', 'bed', 'dining table', 'toilet', 'tv', 'laptop', 'mouse', 'remote', 'keyboard'],
  ...['cell phone', 'microwave', 'oven', 'toaster', 'sink', 'refrigerator', 'book', 'clock', 'vase'],
  ...['scissors', 'teddy bear', 'hair drier', 'toothbrush'],
];

/** Frequent words of image captions that the names and the templates do not hold. */
export const CAPTION_WORDS: readonly string[] = (
  'a an the and or of in on at to with from by for near next under over behind front beside between around through ' +
  'across against into onto off up down out along is are was be being has have having his her its their it he she ' +
  'they that this there some several many few two three four group couple bunch pair another other each one man men ' +
  'woman women people boy girl child children baby guy lady player players rider skier surfer kid kids family crowd ' +
  'standing sitting riding holding walking playing looking wearing laying lying flying parked driving eating watching ' +
  'jumping running posing talking sleeping swinging hitting throwing catching skiing surfing skateboarding cutting ' +
  'filled covered made topped placed hanging surrounded sits stands rides holds walks plays looks lays flies ' +
  'street road field grass beach ocean water wave snow mountain hill slope sky park building house city kitchen room ' +
  'bathroom living bedroom table plate food counter desk floor wall window door tree trees flowers fence side top ' +
  'front back middle corner view picture photo image background sign pole tracks station court game ball bat racket ' +
  'shirt hat jacket helmet suit white black red blue green yellow brown gray orange pink purple wooden large small ' +
  'little big tall old young open empty different various colorful close day night sunny dirt sand vegetables fruit ' +
  'meat bread cheese coffee glass computer screen paper computer television stove cabinets mirror shower motorcycles ' +
  'animals cattle herd flock light lights traffic while as very about who which his front'
).split(' ');
