// The page starts here.
export {};
