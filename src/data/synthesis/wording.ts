/** How synthesized samples ask and answer: eight phrasings or more a task. */

/** What a sample trains: the direction between text, box and crop, relations, or the whole. */
export const SYNTHESIS_TASKS = [
  'text-to-box',
  'box-to-text',
  'crop-to-box',
  'crop-to-text',
  'text-to-crop',
  'box-to-crop',
  'text-and-box-to-crop', // whether a crop shows what words and box say
  'crop-and-box-to-text',
  'relation',
  'global',
] as const;

export type SynthesisTask = (typeof SYNTHESIS_TASKS)[number];

/** What a phrase, a box and the strip of crops are called in the questions below: {phrase}, {box}. */
export const QUESTIONS: Readonly<Record<Exclude<SynthesisTask, 'relation'>, readonly string[]>> = {
  'text-to-box': [
    'Where is {phrase} in the image?',
    'Find {phrase} and give its box.',
    'Which region of the image shows {phrase}?',
    'Please locate {phrase}.',
    'Give the location of {phrase}.',
    'Point out {phrase} in the image.',
    'What are the coordinates of {phrase}?',
    'In which part of the image is {phrase}?',
  ],
  'box-to-text': [
    'What is in {box}?',
    'Name the object in {box}.',
    'Describe only the region {box}.',
    'What does the image show in {box}?',
    'Which object is in {box}?',
    'Please describe what is in {box}.',
    'Tell me what the region {box} shows.',
    'Give a short description of {box}.',
  ],
  'crop-to-box': [
    'Where in the large picture is the small one from?',
    'The small picture beside the scene was cut from it. Where from?',
    'Find the small picture in the large one.',
    'Which region of the large picture does the small one show?',
    'Locate what the small picture shows in the scene.',
    'Give the box in the scene that the small picture was cut from.',
    'From where in the large picture was the small one taken?',
    'Point out in the scene what the small picture shows.',
  ],
  'crop-to-text': [
    'What does the small picture show?',
    'Name the object in the small picture.',
    'Describe the small picture in a few words.',
    'Which object of the scene is in the small picture?',
    'What can be seen in the small picture beside the scene?',
    'Say what the small picture shows.',
    'Give a short description of the small picture.',
    'The small picture shows a part of the scene. What is it?',
  ],
  'text-to-crop': [
    'Which of the small pictures shows {phrase} of the scene?',
    'Find {phrase} among the small pictures.',
    'Which small picture, counted from the top, shows {phrase}?',
    'The small pictures are numbered from the top. Which one is {phrase}?',
    'Choose the small picture that was cut from {phrase} of the scene.',
    'In which of the small pictures can {phrase} be seen?',
    'Give the number of the small picture that shows {phrase}.',
    'Name the small picture in which {phrase} of the scene is.',
  ],
  'box-to-crop': [
    'Which of the small pictures shows {box} of the scene?',
    'Which small picture was cut from {box}?',
    'Find the region {box} among the small pictures.',
    'The small pictures are numbered from the top. Which one matches {box}?',
    'Choose the small picture of the region {box}.',
    'Which small picture, counted from the top, shows what is in {box}?',
    'Give the number of the small picture that was taken from {box}.',
    'Look at {box} in the scene: which small picture shows it?',
  ],
  'text-and-box-to-crop': [
    'Does the small picture show {phrase} in {box}?',
    'Was the small picture cut from {phrase} in {box}?',
    'Is {phrase} in {box} what the small picture shows?',
    'The scene has {phrase} in {box}. Does the small picture show it?',
    'Compare the small picture with {phrase} in {box}. Are they the same?',
    'Check whether the small picture was taken from {box}, where {phrase} is.',
    'Does the small picture match {phrase} {box}?',
    'Look at {phrase} in {box}. Is that the object of the small picture?',
  ],
  'crop-and-box-to-text': [
    'The small picture was cut from {box}. What does it show?',
    'What is in {box} and in the small picture?',
    'Name the object that is in {box} and in the small picture.',
    'The small picture shows the region {box}. What can be seen in it?',
    'Describe what is in {box}; the small picture shows it again.',
    'Which object do the region {box} and the small picture show?',
    'Say what the small picture, taken from {box}, shows.',
    'Give a short description of {box}, which is in the small picture too.',
  ],
  global: [
    'Describe the image in detail and give the location of every object.',
    'Describe the scene and add a box after every object.',
    'Tell me all that you see, with positions.',
    'Give a detailed description of the image with the box of each object.',
    'What does the image show, and where is each object?',
    'Describe every object of the image, where it is, and how they are related.',
    'Write a long caption in which each object is followed by its coordinates.',
    'List and describe what is in the image, from left to right, with boxes.',
  ],
};

/** Asked for the one object that stands in a relation: {predicate}, {phrase}. */
export const WHICH_QUESTIONS = [
  'Which object is {predicate} {phrase}?',
  'What is {predicate} {phrase}?',
  'Name the object that is {predicate} {phrase}.',
  'Find the object {predicate} {phrase}.',
] as const;
/** Asked for the relation of two boxes: {first}, {second}. */
export const BETWEEN_QUESTIONS = [
  'What is the relation of {first} to {second}?',
  'How is {first} related to {second}?',
  'Where is {first} relative to {second}?',
  'How does the object in {first} lie to that in {second}?',
] as const;
/** Asked for the sizes of two boxes. */
export const SIZE_QUESTIONS = [
  'Is the object in {first} larger or smaller than that in {second}?',
  'How large is {first} compared with {second}?',
  'Compare the size of {first} with that of {second}.',
  'Which size has {first} relative to {second}?',
] as const;

export const NONE = 'None of these.';
export const YES = 'Yes.';
export const NO = 'No.';
