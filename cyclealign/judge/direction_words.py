"""Words with which replies say whether a list goes from best to worst or from worst to best, by class.

Only words are kept here; `cyclealign.judge.reply_direction` combines them. A missing word costs at most a repeated
request: an announcement with unknown words makes its reply unreadable.
"""


class Words:
    """A class of words in casefolded form; a word written with a final ``*`` stands for all that begin with it."""

    def __init__(self, text: str) -> None:
        self.all = frozenset(text.split())
        self._starts = tuple(word[:-1] for word in self.all if word.endswith("*"))

    def __contains__(self, token: str) -> bool:
        return token in self.all or token.startswith(self._starts)


# Superlatives, in the languages that judges answer in. A word ending in * is the start of several forms.
WORST = Words(
    "worst weakest poorest loser loses lost schlechteste* schwächste* pire pires peor peores pior piores peggiore "
    "peggiori slechtste* sämst* dårligst* худш* найгірш* najgorsz* najhorš* terburuk 最差 最坏 最糟 最壞 最悪 "
    "最低 最劣 최악 الأسوأ أسوأ"
)
BEST = Words(
    "best strongest finest greatest winner wins won prefer favorite favourite beste bester bestes besten bestem "
    "meilleur meilleure meilleurs meilleures mejor mejores melhor melhores migliore migliori bäst* bedst* лучш* "
    "найкращ* najleps* nejlepš* terbaik 最好 最佳 最优 最優 最良 最高 최고 최상 الأفضل أفضل"
)
# Also said of single answers, so they announce a direction only with a connector right between them.
POOR = Words(
    "worse weak bad poor terrible awful harmful schlecht* schwach* mauvais mauvaise mal malo mala mau ruim "
    "cattivo cattivi slecht* плох* 差 坏 劣 悪い 나쁜"
)
GOOD = Words(
    "better strong good great excellent perfect ideal gut gute guten gutem bon bonne bons bien bueno buena bom "
    "buono buoni goed* хорош* 好 优 良 良い 좋은"
)
# Of numbers as of answers: the lowest rank number is the best one.
LOW = Words("lowest low lower bottom smallest least-first 低")
HIGH = Words("highest high higher top largest 高")
MOST, LEAST = Words("most plus más mais più am"), Words("least fewest moins menos meno")
MERITS = Words(
    "helpful useful good preferred preferable correct accurate complete appropriate suitable safe honest relevant "
    "clear convincing favored favoured desirable satisfying effective hilfreich hilfreichste* utile utiles bon "
    "bonne útil útiles"
)
QUALITIES = Words(
    "quality helpfulness merit goodness preference usefulness excellence worth qualität qualité calidad qualità"
)

TO = Words(
    "to 2 until till through toward towards bis zum zur zu nach hin à au aux vers a al alla hasta para ao até do "
    "к до naar -> → ⇒ => > < … ... - – — ~ 到 至 から へ 에서 إلى"
)
FIRST = Words(
    "first top start beginning front foremost zuerst zuoberst premier première primero primeiro primo 先 最初 "
    "最前 前 第一"
)
LAST = Words("last final bottom end finally zuletzt dernier dernière último ultimo 最後 最后 末 后 後")
START = Words(
    "start starts started starting begin begins beginning leading opening beginnend angefangen commençant empezando"
)
END = Words("end ends ending finish finishes finishing concluding closing endend terminant terminando")
RISING = Words(
    "ascending asc aufsteigend* croissant* ascendant* ascendente* ascendiente* 升序 昇順 오름차순 возрастани* oplopend*"
)
FALLING = Words(
    "descending desc absteigend* décroissant* descendant* descendente* 降序 降順 내림차순 убывани* aflopend*"
)
# Links that only say that something follows.
THEN = Words("before then preceding prior vor avant antes prima")
# Frequent in remarks on answers, so they count only beside a word for an order or for quality.
GROWING = Words(
    "increasing increasingly progressively gradually rising growing improving climbing upward upwards steigend* "
    "zunehmend* creciente* crescente*"
)
SHRINKING = Words(
    "decreasing decreasingly declining falling diminishing downward downwards abnehmend* fallend* decreciente* "
    "decrescente*"
)
TURNED = Words(
    "reverse reversed inverse inverted backward backwards flipped upside opposite mirrored countdown umgekehrt* "
    "rückwärts bottom-up inversé* inverso inversa invertido* rovescia* обратн* 倒序 逆序 相反 逆順 反 倒 逆 역순"
)
ORDERS = Words(
    "order ordered ordering rank ranks ranked ranking rankings list listed sequence direction sort sorted sorting "
    "arranged arrangement reihenfolge rangfolge rangliste ordre classement orden ordem ordine clasificación 顺序 "
    "順序 順 排序 排名"
)
NOT = Words("not never opposite reverse instead rather unlike isn nicht kein pas non no 不 非 没")
SAYS = Words(
    "mean means meaning denotes denote stands reads read indicates signifies bedeutet heisst signifie significa "
    "表示 意味 意思"
)
SCALES = Words("higher larger greater bigger lower smaller fewer")
# Between a label or number and the word that says its place: "K7 is clearly the best", "1 = best".
LINKS = Words(
    "is are was be being as = : - – — ( ) [ ] the clearly by far simply answer response one label overall ranked "
    "rated definitely easily still remains comes out means denotes stands for at rank place position number no # "
    "goes to points point score entry item listed i | ist die der das est le la es"
)
COPULAS = Words("is are was = : ( ) [ ] means denotes goes | ist est es")
PLACED = Words("comes come is ranks ranked goes placed finishes kommt est")

# Words of plain announcements such as "Here is my final ranking of the answers:".
PLAIN = Words(
    "here is are was be the a an my our your this that these those it its i we you so then thus therefore hence "
    "now and or of in on at as by for to from with without all each every both after before into upon under over "
    "about per not no yes ok okay sure would will shall can could should must may have has had do did done am say "
    "said give gives think judge judged find found rank ranks ranked ranking rankings rate rated order ordered "
    "ordering list listed sort sorted result results verdict judgement judgment final finally overall conclusion "
    "conclude answer answers response responses label labels candidate candidates option options json object "
    "output reply format follows following requested asked required need needed below one ones four three two "
    "five six seven eight place places position positions best worst first better worse rubric criteria criterion "
    "based according quality helpfulness correctness completeness clarity safety honesty accuracy relevance "
    "preference evaluation evaluated evaluating assessment comparison compared comparing considering considered "
    "careful carefully consideration analysis review reviewed account everything together taking taken rather "
    "actually just only more most less least very well good strongest weakest they them their there which who "
    "when where but if than end summary sum short brief task instructions question prompt hier ist sind die der "
    "das den dem des meine mein endgültige rangfolge rangliste reihenfolge bewertung antworten antwort von vom "
    "zum zur zu bis nach ergebnis also voici mon ma le la les classement final des réponses réponse ordre du au "
    "de un une est este aquí está mi la el clasificación orden respuestas respuesta ecco la mia classifica 从 到 "
    "至 的 是 我 以 下 为 由 按 排名 排序 顺序 最终 结果 答案 回答 如 最 后 後 順 順序 です は の 以下"
)
# Further words that show that a sentence is in a language whose words of direction are known.
COMMON = Words(
    "he she what how why because while also even still such some any been being were out up down let know "
    "anything else help und oder nicht mit für auf ein eine einen einer eines es er sie ich im ist sind wird "
    "werden auch aber nur wie als wenn dass man keine kein sehr mehr klar hilfreich antwortet et ou avec pas ne "
    "qui que dans sur plus très mais il elle sont ce cette on se en y o con no los las un una unos que por para "
    "muy más pero lo del al son como si e di che non per con una il un i gli het een en niet met voor van zijn "
    "wordt ook maar os as um uma não com mais mas é"
)
SENTENCE_ENDS = Words(". ! ? ; 。 ！ ？ ؟")
